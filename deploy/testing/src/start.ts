import { mkdtemp, rm, writeFile } from 'node:fs/promises';
import { createServer } from 'node:net';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { findRuntime, type Runtime, type RuntimeName } from './runtime.ts';
import { trust } from './trust.ts';

/** How a cloud is started. */
export interface StartOptions {
  /** Default: `INTERLOCK_IMAGE`, or `localhost/interlock/all-in-one:0.1.0`, which `npm run images -- all-in-one` builds. */
  readonly image?: string;
  /** Default: the first of podman and docker that runs here. */
  readonly runtime?: RuntimeName;
  /** Settings of the services (docs/settings.md), for example `{ LEASE_TTL_MS: '5000' }`. */
  readonly settings?: Readonly<Record<string, string>>;
  /** More arguments of `run`, for example `['--network', 'host']`. */
  readonly args?: readonly string[];
  /** Longest start in milliseconds; default 300,000: a busy machine needs two minutes. */
  readonly timeoutMs?: number;
}

/** URLs of a cloud. */
export interface Endpoints {
  /** Resource management, sign-in and directory: `https://localhost:<port>`. */
  readonly gateway: string;
  /** Managed identity endpoint, and proxy for programs that cannot resolve the names of vaults. */
  readonly managedIdentity: string;
  /** URL of a vault. */
  vault(name: string): string;
}

/** A running cloud. */
export interface InterlockCloud {
  readonly endpoints: Endpoints;
  /**
   * What `interlock azure env` prints: `GATEWAY_URL`, `VAULT_URL_TEMPLATE`, `TENANT`, `SUBSCRIPTION`, `CLIENT_ID`, `CLIENT_SECRET`,
   * `CA_FILE`, `IMDS_URL`; and `NODE_EXTRA_CA_CERTS` and `REQUESTS_CA_BUNDLE` for processes that a test starts.
   */
  readonly env: Readonly<Record<string, string>>;
  /** PEM of its authority. */
  readonly authority: string;
  /** Name of the container. */
  readonly container: string;
  /** Makes this process trust the authority and resolve the host names of vaults. */
  trust(): void;
  /** The output of the cloud. */
  logs(): Promise<string>;
  /** Removes the container with its data. May be called more than once. */
  stop(): Promise<void>;
}

const standardImage = 'localhost/interlock/all-in-one:0.1.0';
/** Time between two checks of a starting cloud, in milliseconds. */
const lookMs = 500;

/** Starts a whole cloud in a container; resolves when Azure's clients can use it. @throws Error with the end of its log */
export const start = async (options: StartOptions = {}): Promise<InterlockCloud> => {
  const { settings = {}, timeoutMs = 300_000, args = [] } = options;
  const runtime = await findRuntime(options.runtime);
  const [port, loopbackPort] = await freePorts();
  // URLs of keys contain the port, so it is the same inside and outside.
  const environment = {
    ...settings,
    INTERLOCK_GATEWAY_PORT: String(port),
    INTERLOCK_LOOPBACK_PORT: String(loopbackPort),
  };
  const container = await runtime.run(
    'run',
    '--detach',
    ...[port, loopbackPort].flatMap((one) => ['--publish', `127.0.0.1:${one}:${one}`]),
    ...Object.entries(environment).flatMap(([name, value]) => ['--env', `${name}=${value}`]),
    ...args,
    options.image ?? process.env.INTERLOCK_IMAGE ?? standardImage,
  );
  try {
    await untilHealthy(runtime, container, timeoutMs);
    return await described(runtime, container);
  } catch (error) {
    const log = await runtime.run('logs', '--tail', '20', container).catch(() => '');
    await runtime.run('rm', '--force', '--volumes', container);
    throw new Error(`the cloud did not start: ${error instanceof Error ? error.message : error}\n${log}`, {
      cause: error,
    });
  }
};

/** Runs the health check of the image itself: not every machine runs it for podman. */
const untilHealthy = async (runtime: Runtime, container: string, timeoutMs: number): Promise<void> => {
  const deadline = performance.now() + timeoutMs;
  for (;;) {
    try {
      await runtime.run('exec', container, '/usr/local/bin/node', '/app/deploy/local/health.ts');
      return;
    } catch (error) {
      const state = await runtime.run('inspect', '--format', '{{.State.Status}}', container);
      if (state !== 'running') throw new Error(`the container is ${state}`, { cause: error });
      if (performance.now() > deadline) throw new Error(`it was not ready within ${timeoutMs} ms`, { cause: error });
      await sleep(lookMs);
    }
  }
};

const described = async (runtime: Runtime, container: string): Promise<InterlockCloud> => {
  const cli = ['/usr/local/bin/node', '/app/services/cli/src/main.ts', 'azure', 'env', '-o', 'json'];
  const inside: Record<string, string> = JSON.parse(await runtime.run('exec', container, ...cli));
  const authority = `${await runtime.run('exec', container, 'cat', inside.CA_FILE ?? '')}\n`;
  const folder = await mkdtemp(join(tmpdir(), 'interlock-testing-'));
  const authorityFile = join(folder, 'authority.pem');
  await writeFile(authorityFile, authority);
  const env = {
    ...inside,
    CA_FILE: authorityFile,
    NODE_EXTRA_CA_CERTS: authorityFile,
    REQUESTS_CA_BUNDLE: authorityFile,
  };
  let stopping: Promise<void> | undefined;
  const stop = async (): Promise<void> => {
    await runtime.run('stop', '--time', '20', container);
    await runtime.run('rm', '--force', '--volumes', container);
    await rm(folder, { recursive: true, force: true });
  };
  return {
    endpoints: {
      gateway: inside.GATEWAY_URL ?? '',
      managedIdentity: inside.IMDS_URL ?? '',
      vault: (name) => (inside.VAULT_URL_TEMPLATE ?? '').replace('{vault}', name),
    },
    env,
    authority,
    container,
    trust: () => trust(authority),
    logs: () => runtime.run('logs', container),
    stop: () => {
      stopping ??= stop();
      return stopping;
    },
  };
};

/** Two ports of 127.0.0.1 without a listener. */
const freePorts = async (): Promise<readonly [number, number]> => {
  const servers = [createServer(), createServer()];
  const ports = await Promise.all(
    servers.map(
      (server) =>
        new Promise<number>((resolve, reject) => {
          server.once('error', reject);
          server.listen(0, '127.0.0.1', () => resolve((server.address() as { readonly port: number }).port));
        }),
    ),
  );
  await Promise.all(servers.map((server) => new Promise((resolve) => server.close(resolve))));
  const [first = 0, second = 0] = ports;
  return [first, second];
};
