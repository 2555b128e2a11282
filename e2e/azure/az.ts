import { execFile, spawnSync } from 'node:child_process';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import type { GatewayAccess } from '@interlock/local/gateway.ts';

/** Why the command line cannot be driven here; undefined if it is installed. */
export const azMissing = (): string | undefined =>
  spawnSync('az', ['--version'], { stdio: 'ignore' }).status === 0
    ? undefined
    : 'the command line az is not installed: apt-get install azure-cli';

/** The output of a command, and its exit code. */
export interface AzResult {
  readonly exitCode: number;
  readonly stdout: string;
  readonly stderr: string;
}

/** Azure's command line, unmodified, with its own configuration folder. */
export interface Az {
  /** Runs a command. @returns its JSON; undefined for none @throws Error with its output unless it exits with 0 */
  run<Result = unknown>(...words: readonly string[]): Promise<Result>;
  /** Runs a command that may fail. */
  attempt(...words: readonly string[]): Promise<AzResult>;
  /** Seconds of all commands. */
  readonly seconds: number;
  close(): void;
}

/** Registers the gateway as a cloud, in an empty configuration. Names of vaults are resolved by the gateway's proxy. */
export const openAz = async (access: GatewayAccess, more: Readonly<Record<string, string>> = {}): Promise<Az> => {
  const folder = mkdtempSync(join(tmpdir(), 'interlock-az-'));
  // The variable would keep names below localhost from the proxy.
  const inherited = Object.entries(process.env).filter(([name]) => name.toLowerCase() !== 'no_proxy');
  const env = {
    ...Object.fromEntries(inherited),
    AZURE_CONFIG_DIR: folder,
    AZURE_CORE_INSTANCE_DISCOVERY: 'false',
    AZURE_CORE_COLLECT_TELEMETRY: 'false',
    REQUESTS_CA_BUNDLE: access.authorityFile,
    HTTPS_PROXY: access.loopbackUrl,
    ...more,
  };
  let milliseconds = 0;
  const attempt = (...words: readonly string[]): Promise<AzResult> =>
    new Promise((resolve) => {
      const since = performance.now();
      execFile('az', [...words], { env, timeout: 120_000, maxBuffer: 8 * 1024 ** 2 }, (error, stdout, stderr) => {
        milliseconds += performance.now() - since;
        const exitCode = error === null ? 0 : typeof error.code === 'number' ? error.code : -1;
        resolve({ exitCode, stdout, stderr });
      });
    });
  const az: Az = {
    attempt,
    async run<Result>(...words: readonly string[]): Promise<Result> {
      const { exitCode, stdout, stderr } = await attempt(...words, '-o', 'json');
      if (exitCode === 0) return (stdout.trim() === '' ? undefined : JSON.parse(stdout)) as Result;
      throw new Error(`az ${words.join(' ')} ended with ${exitCode}:\n${stderr}${stdout}`);
    },
    get seconds() {
      return milliseconds / 1_000;
    },
    close: () => rmSync(folder, { recursive: true, force: true }),
  };
  try {
    await az.run('cloud', 'register', '-n', 'Interlock', '--endpoint-resource-manager', access.url);
    await az.run('cloud', 'set', '-n', 'Interlock');
    return az;
  } catch (error) {
    az.close();
    throw error;
  }
};

/** Signs in with a secret. */
export const signIn = (az: Az, { clientId, tenant }: GatewayAccess, secret: string): Promise<unknown> =>
  az.run('login', '--service-principal', '-u', clientId, '-p', secret, '--tenant', tenant);
