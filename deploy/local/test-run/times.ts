import { existsSync, readFileSync } from 'node:fs';
import type { FileTime } from './summary-reporter.ts';

/** The ten files with the most time, one line each, so that a slow one is noticed when it is added. */
export const longestOf = (files: readonly FileTime[]): string =>
  files
    .toSorted((a, b) => b.ms - a.ms)
    .slice(0, 10)
    .map(({ file, ms }) => `  ${(ms / 1_000).toFixed(1)} s  ${file}`)
    .join('\n');

/** A line of JSON for each file, the one with the most processor time first; both times in milliseconds. */
export const timesTable = (processorTimes: readonly FileTime[], elapsed: readonly FileTime[]): string => {
  const elapsedMs = new Map(elapsed.map(({ file, ms }) => [file, ms]));
  const lines = processorTimes
    .toSorted((a, b) => b.ms - a.ms)
    .map(({ file, ms }) => `${JSON.stringify({ file, processorMs: ms, elapsedMs: elapsedMs.get(file) })}\n`);
  return lines.join('');
};

/**
 * What the processes of a run reported. One that was killed reported nothing. Processes that tests start report too, although their
 * time is part of that of the test file.
 * @param nameOf the name of a test file or group, from the path of what ran
 */
export const readTimes = (file: string, nameOf: (path: string) => string): readonly FileTime[] => {
  if (!existsSync(file)) return [];
  const lines = readFileSync(file, 'utf8').trimEnd().split('\n');
  return lines.map((line) => JSON.parse(line) as FileTime).map(({ file: path, ms }) => ({ file: nameOf(path), ms }));
};
