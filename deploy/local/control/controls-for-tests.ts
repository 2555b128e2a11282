import { execFile } from 'node:child_process';
import { existsSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { clockShift } from '../clocks/clock-shift.ts';
import { commandLine } from '../command-line.ts';
import type { DataFolder } from '../data-folder.ts';
import type { StoreOwner } from '../services.ts';

/** An export or import of the estate of a resource group, as `interlock estate` does it. */
export interface EstateRequest {
  readonly verb: 'export' | 'import';
  /** Id of ours. */
  readonly subscription: string;
  readonly group: string;
  /** The caller: a principal, and its access tokens by service. */
  readonly caller: { readonly principal: string; readonly tokens: Readonly<Record<string, string>> };
  /** Of an import: the estate file. */
  readonly text?: string;
  /** For an import: is appended to the names of vaults, after a hyphen. */
  readonly vaultSuffix?: string;
}

/** The result of a command of the command line. */
export interface CommandEnd {
  readonly exitCode: number;
  readonly out: string;
  readonly err: string;
}

/** What a cloud for tests does for its clients, in addition to faults. */
export interface TestControls {
  /** Settings for the services and the gateway with which their clocks can be moved. */
  readonly settings: Readonly<Record<string, string>>;
  /** How far the clocks of the cloud are ahead of those of the machine, in milliseconds. */
  aheadMs(): number;
  /** Moves all wall clocks of the cloud forward. @returns `aheadMs` afterwards @throws LauncherError naming a service that is down */
  advance(byMs: number): Promise<number>;
  /** Runs `interlock estate` for a caller. */
  estate(request: EstateRequest): Promise<CommandEnd>;
}

/** Largest output of the command line, in bytes. */
const outputBytesMax = 64 * 1024 * 1024;
/** The longest import, in milliseconds. */
const estateMs = 30 * 60_000;

/** Opens the controls of a cloud. @param services that run */
export const openTestControls = (data: DataFolder, services: readonly StoreOwner[]): TestControls => {
  const clocks = clockShift(data.folder('clocks'));
  const running = (): readonly StoreOwner[] =>
    existsSync(data.path('gateway.json')) ? [...services, 'gateway'] : services;
  const aheadMs = (): number => Math.max(...services.map((service) => clocks.of(service).wallMs));
  return {
    settings: clocks.settings,
    aheadMs,
    async advance(byMs) {
      const shift = { wallMs: aheadMs() + byMs, bootMs: 0 };
      await Promise.all(running().map((service) => clocks.set(service, shift)));
      return shift.wallMs;
    },
    estate: (request) => runEstate(data, request),
  };
};

const runEstate = async (
  data: DataFolder,
  { verb, subscription, group, caller, text = '', vaultSuffix }: EstateRequest,
): Promise<CommandEnd> => {
  const folder = mkdtempSync(join(tmpdir(), 'interlock-estate-'));
  try {
    const tokens = join(folder, 'tokens.json');
    writeFileSync(tokens, JSON.stringify(caller.tokens), { mode: 0o600 });
    const place = ['--data', data.root, '--subscription', subscription, '--group', group];
    const own =
      verb === 'export'
        ? ['export']
        : ['import', '-', '-o', 'json', ...(vaultSuffix === undefined ? [] : ['--vault-suffix', vaultSuffix])];
    return await runCli(['estate', ...own, ...place, '--as', `${caller.principal}:${tokens}`], text);
  } finally {
    rmSync(folder, { recursive: true });
  }
};

const runCli = (args: readonly string[], input: string): Promise<CommandEnd> =>
  new Promise((resolve, reject) => {
    const options = { env: { PATH: process.env.PATH }, maxBuffer: outputBytesMax, timeout: estateMs };
    const child = execFile(process.execPath, [commandLine().entry, ...args], options, (error, out, err) => {
      const exitCode = error === null ? 0 : error.code;
      if (typeof exitCode === 'number') resolve({ exitCode, out, err });
      else reject(error);
    });
    // A command that refuses its arguments does not read its input.
    child.stdin?.on('error', () => undefined);
    child.stdin?.end(input);
  });
