import { appendFileSync, closeSync, openSync, readFileSync, realpathSync } from 'node:fs';
import { dirname, isAbsolute, relative, resolve } from 'node:path';
import { LauncherError, repository } from '@interlock/local/data-folder.ts';
import type { Measurement } from './measure.ts';

/** A measurement as it is kept: the line a bench printed, and when. */
export interface Kept extends Measurement {
  /** ISO 8601, of the end of the run; the same for every line of it. */
  readonly time: string;
}

/** Name of the environment variable that names the file where `--history` does not. */
export const HISTORY_VARIABLE = 'INTERLOCK_BENCH_HISTORY';

/**
 * Where measurements are kept: a file of JSON lines somebody chose. What one machine measured on one day is no part of
 * the repository, so a file inside it is refused.
 * @param isSmoke what only shows that it runs measures nothing: no line is kept, and that is said
 * @throws LauncherError before anything is measured, when the file cannot be written or lies in the repository
 */
export const openHistory = (
  file: string,
  isSmoke = false,
  say: (line: string) => void = console.error,
): { readonly add: (measurements: readonly Measurement[]) => void } => {
  const path = resolve(file);
  try {
    const fromRoot = relative(realpathSync(repository), realpathSync(dirname(path)));
    if (!fromRoot.startsWith('..') && !isAbsolute(fromRoot))
      throw new LauncherError(`The history ${path} lies in the repository. Measurements are kept outside it.`);
    closeSync(openSync(path, 'a'));
  } catch (error) {
    if (error instanceof LauncherError) throw error;
    throw new LauncherError(
      `The history ${path} cannot be written: ${messageOf(error)}. Name a file in a folder that exists.`,
    );
  }
  return {
    add(measurements) {
      if (isSmoke) return say(`--smoke measures nothing: ${path} was given no line.`);
      const time = new Date().toISOString();
      const lines = measurements.map((measurement) => JSON.stringify({ time, ...measurement }));
      appendFileSync(path, lines.map((line) => `${line}\n`).join(''));
    },
  };
};

/**
 * Reads a history, oldest first.
 * @throws LauncherError when there is none, or a line of it is none of a bench
 */
export const readHistory = (file: string): readonly Kept[] => {
  const path = resolve(file);
  let text: string;
  try {
    text = readFileSync(path, 'utf8');
  } catch (error) {
    throw new LauncherError(
      `The history ${path} cannot be read: ${messageOf(error)}. Make one with \`npm run bench -- <name> --history ${path}\`.`,
    );
  }
  const lines = text.split('\n').flatMap((line, n) => (line.trim() === '' ? [] : [{ line, number: n + 1 }]));
  return lines.map(({ line, number }) => {
    const kept = parsed(line);
    if (!isKept(kept))
      throw new LauncherError(`Line ${number} of ${path} is no measurement of a bench: ${line.slice(0, 80)}`);
    return kept;
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
  const areTexts = ['time', 'bench', 'unit', 'commit', 'machine'].every((name) => typeof fields[name] === 'string');
  return (
    areTexts &&
    ['size', 'value', 'floor', 'ratio', 'spread', 'samples'].every((name) => typeof fields[name] === 'number')
  );
};

const messageOf = (error: unknown): string => (error instanceof Error ? error.message : String(error));
