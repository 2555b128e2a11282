import { closeSync, fstatSync, openSync, readSync } from 'node:fs';

/** Letters of a line that are shown: how a line of a service begins says what happened; the rest is for the file. */
const lineMax = 600;

/** The last lines of a log, at most 8 KiB of them, long ones cut; empty when there is no such file. */
export function logTail(file: string, lines = 20): string {
  let descriptor: number;
  try {
    descriptor = openSync(file, 'r');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return '';
    throw error;
  }
  try {
    const { size } = fstatSync(descriptor);
    const buffer = Buffer.alloc(Math.min(size, 8192));
    readSync(descriptor, buffer, 0, buffer.length, size - buffer.length);
    const last = buffer.toString('utf8').trimEnd().split('\n').slice(-lines);
    return last.map((line) => (line.length > lineMax ? `${line.slice(0, lineMax)} …` : line)).join('\n');
  } finally {
    closeSync(descriptor);
  }
}
