import { parseArgs } from 'node:util';

/** What one run of the simulation does. */
export interface RunOptions {
  /** Seed of the first history. The others have consecutive seeds. */
  readonly seed: number;
  /** Whether the seed was given, not drawn. */
  readonly isChosen: boolean;
  /** Most histories. */
  readonly histories: number;
  /** No history starts after this many seconds of real time. */
  readonly seconds: number;
  /** Processes that play histories. */
  readonly workers: number;
  /** Stops acting before this action of each history; undefined: acts to the end. */
  readonly untilAction: number | undefined;
  /** Disk hosts of each history; undefined: as its seed says. */
  readonly diskHosts: number | undefined;
  /** VM hosts of each history, 0: compute runs the guests; undefined: as its seed says. */
  readonly vmHosts: number | undefined;
}

/** A mistake in the command line, as a text for the user. */
export class UsageError extends Error {
  override readonly name = 'UsageError';
}

export const usage = `npm run simulate -- [option …]

  --seed N        plays the history of this seed and prints its log; with --histories or --seconds: begins there
  --seconds S     plays for so many seconds of real time (default 60)
  --histories N   plays so many histories
  --workers N     in so many processes (default 2)
  --disk-hosts N  gives each history so many disk hosts (default: as its seed says)
  --vm-hosts N    gives each history so many VM hosts (default: as its seed says)
  --until N       stops acting before the Nth action of each history
  --help          says this`;

/** Seeds are 32 bits. */
const SEED_MAX = 2 ** 32 - 1;
const SECONDS_DEFAULT = 60;
const WORKERS_DEFAULT = 2;
/** Most disk hosts of a history. */
const DISK_HOSTS_MAX = 200;
/** Most VM hosts of a history. */
const VM_HOSTS_MAX = 50;

/**
 * Reads the command line.
 * @param drawSeed draws a seed if none is given
 * @returns undefined for a request for help
 * @throws UsageError that names the option and its allowed values
 */
export const readOptions = (args: readonly string[], drawSeed: () => number): RunOptions | undefined => {
  if (args.includes('--help')) return undefined;
  const given = parse(args);
  const number = (name: string, min: number, max: number): number | undefined => {
    const text = given[name];
    if (text === undefined) return undefined;
    const value = Number(text);
    if (/^\d+$/.test(text) && value >= min && value <= max) return value;
    throw new UsageError(`--${name} must be a whole number from ${min} to ${max}, not "${text}"`);
  };
  const seed = number('seed', 0, SEED_MAX);
  const seconds = number('seconds', 1, 86_400);
  const histories = number('histories', 1, 100_000_000);
  const isOne = seed !== undefined && seconds === undefined && histories === undefined;
  return {
    seed: seed ?? drawSeed(),
    isChosen: seed !== undefined,
    histories: histories ?? (isOne ? 1 : Number.POSITIVE_INFINITY),
    seconds: seconds ?? (isOne || histories !== undefined ? Number.POSITIVE_INFINITY : SECONDS_DEFAULT),
    workers: number('workers', 1, 64) ?? WORKERS_DEFAULT,
    untilAction: number('until', 1, 1_000_000),
    diskHosts: number('disk-hosts', 0, DISK_HOSTS_MAX),
    vmHosts: number('vm-hosts', 0, VM_HOSTS_MAX),
  };
};

const text = { type: 'string' } as const;

/** `--seed -1` as `--seed=-1`: the error should name the number, not a missing value. */
const joined = (args: readonly string[]): string[] =>
  args.flatMap((arg, index) => {
    const next = args[index + 1] ?? '';
    if (isName(arg) && isNegative(next)) return [`${arg}=${next}`];
    return isNegative(arg) && isName(args[index - 1] ?? '') ? [] : [arg];
  });
const isName = (arg: string): boolean => /^--[a-z-]+$/.test(arg);
const isNegative = (arg: string): boolean => /^-\d/.test(arg);

const parse = (args: readonly string[]): Readonly<Record<string, string | undefined>> => {
  try {
    const names = ['seed', 'seconds', 'histories', 'workers', 'until', 'disk-hosts', 'vm-hosts'];
    const options = Object.fromEntries(names.map((name) => [name, text]));
    return { ...parseArgs({ args: joined(args), options, allowPositionals: false }).values };
  } catch (cause) {
    throw new UsageError(cause instanceof Error ? cause.message : String(cause), { cause });
  }
};
