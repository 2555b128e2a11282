import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { openTestControls, type TestControls } from '@interlock/local/control/controls-for-tests.ts';
import { type DataFolder, openDataFolder } from '@interlock/local/data-folder.ts';
import { type LocalCloud, startLocalCloud } from '@interlock/local/local-cloud.ts';
import { serviceNames } from '@interlock/local/services.ts';
import { removeServer } from '@interlock/local/unprivileged.ts';
import { type Clients, type Outside, openOutside } from './clients.ts';

/** Room of a service's stream: the server is shared with other tests. */
const STREAM_BYTES_MAX = 16 * 1024 ** 2;

/** A cloud of separate processes for one test file. */
export interface TestCloud {
  readonly cloud: LocalCloud;
  readonly outside: Outside;
  /** As the administrator sees it. */
  readonly clients: Clients;
  /** The folder everything is in. */
  readonly folder: string;
  readonly testControls: TestControls | undefined;
  stop(): Promise<void>;
}

/**
 * Starts a cloud on the servers of `DATABASE_URL` and `NATS_URL`, under a name of its own; what it made there goes with it.
 * @param settings for the services, beside their defaults
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
    settings: { NATS_STREAM_BYTES_MAX: String(STREAM_BYTES_MAX), ...settings },
  });
  const outside = openOutside(cloud);
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

/** A cloud of separate processes on servers of its own, all of which a test may kill. */
export interface OwnCloud extends Omit<TestCloud, 'testControls'> {
  readonly data: DataFolder;
}

/** Starts it. @param settings for the services, beside their defaults */
export const ownCloud = async (settings: Readonly<Record<string, string>> = {}): Promise<OwnCloud> => {
  const folder = mkdtempSync(join(tmpdir(), 'interlock-'));
  const data = openDataFolder(folder);
  const remove = (): void => {
    removeServer(data);
    rmSync(folder, { recursive: true, force: true });
  };
  try {
    // Servers from outside belong to others: they must not be killed.
    const { DATABASE_URL: _, NATS_URL: __, ...env } = process.env;
    const cloud = await startLocalCloud({ data, env, settings });
    const outside = openOutside(cloud);
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
