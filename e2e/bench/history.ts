import { appendFileSync, closeSync, openSync, readFileSync, realpathSync } from 'node:fs';
import { dirname, isAbsolute, relative, resolve } from 'node:path';
import { LauncherError, repository } from '@interlock/local/data-folder.ts';
import type { Measurement } from './measure.ts';

/** A measurement in a history file. */
export interface Kept extends Measurement {
  /** ISO 8601: end of the run. */
  readonly time: string;
}

/** The environment variable that names the history file if `--history` does not. */
export const HISTORY_VARIABLE = 'INTERLOCK_BENCH_HISTORY';

/**
 * Opens a file of JSON lines. Measurements of one machine on one day do not belong in the repository, so a file inside it is refused.
 * @param isSmoke appends nothing, and prints a message
 * @throws LauncherError if the file cannot be written or is inside the repository
 */
export const openHistory = (
  file: string,
  isSmoke = false,
  print: (line: string) => void = console.error,
): { readonly add: (measurements: readonly Measurement[]) => void } => {
  const path = resolve(file);
  try {
    const fromRoot = relative(realpathSync(repository), realpathSync(dirname(path)));
    if (!fromRoot.startsWith('..') && !isAbsolute(fromRoot))
      throw new LauncherError(`The history ${path} is inside the repository. Name a file outside it.`);
    closeSync(openSync(path, 'a'));
  } catch (error) {
    if (error instanceof LauncherError) throw error;
    throw new LauncherError(
      `The history ${path} cannot be written: ${messageOf(error)}. Name a file in a folder that exists.`,
    );
  }
  return {
    add(measurements) {
      if (isSmoke) return print(`--smoke measures nothing: no line was added to ${path}.`);
      const time = new Date().toISOString();
      appendFileSync(path, measurements.map((one) => `${JSON.stringify({ time, ...one })}\n`).join(''));
    },
  };
};

/** Reads a history, oldest first. @throws LauncherError if the file is missing or a line is not a measurement */
export const readHistory = (file: string): readonly Kept[] => {
  const path = resolve(file);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new LauncherError(
      `The history ${path} cannot be read: ${messageOf(error)}. Create one with \`npm run bench -- <name> --history ${path}\`.`,
    );
  }
  return text.split('\n').flatMap((line, n) => {
    if (line.trim() === '') return [];
    const kept = parsed(line);
    if (!isKept(kept)) throw new LauncherError(`Line ${n + 1} of ${path} is not a measurement: ${line.slice(0, 80)}`);
    return [kept];
  });
};

const parsed = (line: string): unknown => {
  try {
    return JSON.parse(line);
  } catch {
    return undefined;
  }
};

const isKept = (value: unknown): value is Kept => {
  if (typeof value !== 'object' || value === null) return false;
  const fields = value as Record<string, unknown>;
  return (
    ['time', 'bench', 'unit', 'commit', 'machine'].every((name) => typeof fields[name] === 'string') &&
    ['size', 'value', 'floor', 'ratio', 'spread', 'samples'].every((name) => typeof fields[name] === 'number')
  );
};

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
