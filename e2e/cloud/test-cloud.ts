import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openTestControls, type TestControls } from '@interlock/local/control/controls-for-tests.ts';
import { type DataFolder, openDataFolder } from '@interlock/local/data-folder.ts';
import { type LocalCloud, startLocalCloud } from '@interlock/local/local-cloud.ts';
import { serviceNames } from '@interlock/local/services.ts';
import { removeServer } from '@interlock/local/unprivileged.ts';
import { type Clients, type Outside, openOutside, patient } from './clients.ts';

/** Size limit of a service's stream: other tests share the server. */
const STREAM_BYTES_MAX = 16 * 1024 ** 2;

/**
 * Settings of a cloud whose test reads no spans, the default here: its services do not load the SDK of OpenTelemetry, a fifth of the
 * processor time of their start.
 */
export const withoutTelemetry = { OTEL_SDK_DISABLED: 'true' } as const;

/** Settings of a cloud whose test reads spans, or measures what production has. */
export const withTelemetry = { OTEL_SDK_DISABLED: 'false' } as const;

/** A cloud of separate processes for one test file. */
export interface TestCloud {
  readonly cloud: LocalCloud;
  readonly outside: Outside;
  /** Clients with the rights of the administrator. */
  readonly clients: Clients;
  /** The folder of the cloud. */
  readonly folder: string;
  readonly testControls: TestControls | undefined;
  stop(): Promise<void>;
}

/**
 * Starts a cloud on the servers of `DATABASE_URL` and `NATS_URL`, under its own name. Its databases and streams are removed with it.
 * @param settings for the services, in addition to their defaults and `withoutTelemetry`
 * @param replicas processes of each service
 * @param hasTestControls whether clocks may be moved, and estates exported and imported
 */
export const testCloud = async (
  settings: Readonly<Record<string, string>> = {},
  replicas = 1,
  hasTestControls = false,
): Promise<TestCloud> => {
  const folder = mkdtempSync(join(tmpdir(), 'interlock-'));
  const data = openDataFolder(folder);
  const testControls = hasTestControls ? openTestControls(data, serviceNames) : undefined;
  const cloud = await startLocalCloud({
    data,
    testControls,
    env: process.env,
    name: `t${randomBytes(4).toString('hex')}`,
    temporary: true,
    replicas,
    settings: { NATS_STREAM_BYTES_MAX: String(STREAM_BYTES_MAX), ...withoutTelemetry, ...settings },
  });
  const outside = openOutside(cloud, patient);
  return {
    cloud,
    outside,
    clients: outside.administrator,
    folder,
    testControls,
    async stop() {
      outside.close();
      await cloud.stop();
      rmSync(folder, { recursive: true, force: true });
    },
  };
};

/** A cloud of separate processes with its own servers. A test may kill all of them. */
export interface OwnCloud extends Omit<TestCloud, 'testControls'> {
  readonly data: DataFolder;
}

/** Starts it. @param settings for the services, in addition to their defaults and `withoutTelemetry` */
export const ownCloud = async (settings: Readonly<Record<string, string>> = {}): Promise<OwnCloud> => {
  const folder = mkdtempSync(join(tmpdir(), 'interlock-'));
  const data = openDataFolder(folder);
  const remove = (): void => {
    removeServer(data);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    // Only servers that this cloud started may be killed, so none are taken from the environment.
    const { DATABASE_URL: _, NATS_URL: __, ...env } = process.env;
    const cloud = await startLocalCloud({ data, env, settings: { ...withoutTelemetry, ...settings } });
    const outside = openOutside(cloud, patient);
    const stop = async (): Promise<void> => {
      outside.close();
      await cloud.stop();
      remove();
    };
    return { data, cloud, outside, clients: outside.administrator, folder, stop };
  } catch (error) {
    remove();
    throw error;
  }
};
