import { closeSync, fstatSync, openSync, readSync, statSync } from 'node:fs';

/** How many characters of a line are shown. The start of a line says what happened; the file has the rest. */
const lineMax = 600;

/** How much of a log is read at most, in bytes: many lines of settings and stacks, few of which are shown. */
const bytesMax = 65_536;

/** The end of a log now: later lines are from the next process. 0 if the file does not exist. */
export const logEnd = (file: string): number => statSync(file, { throwIfNoEntry: false })?.size ?? 0;

/**
 * The last lines of a log since that position, with long lines cut; empty if the file does not exist. Lines of a service
 * without an error are left out if there are lines with one. Of an error, the messages are shown, not the stack.
 */
export function logTail(file: string, { lines = 20, from = 0 } = {}): string {
  const written = readEnd(file, from).trimEnd();
  if (written === '') return '';
  const all = written.split('\n').map(lineOf);
  const troubles = all.filter(({ isTrouble }) => isTrouble);
  const shown = (troubles.length > 0 ? troubles : all).slice(-lines);
  return shown.map(({ text }) => (text.length > lineMax ? `${text.slice(0, lineMax)} …` : text)).join('\n');
}

function readEnd(file: string, from: number): string {
  let descriptor: number;
  try {
    descriptor = openSync(file, 'r');
  } catch (error) {
    if (error instanceof Error && 'code' in error && error.code === 'ENOENT') return '';
    throw error;
  }
  try {
    const { size } = fstatSync(descriptor);
    // A log that is shorter than before was emptied at its limit, and all of it is newer.
    const start = from <= size ? from : 0;
    const buffer = Buffer.alloc(Math.min(size - start, bytesMax));
    readSync(descriptor, buffer, 0, buffer.length, size - buffer.length);
    return buffer.toString('utf8');
  } finally {
    closeSync(descriptor);
  }
}

/** A line of a log as it is shown. A line that no service wrote (Postgres, NATS, Node at its end) stays as it is, and counts as an error. */
function lineOf(line: string): { readonly text: string; readonly isTrouble: boolean } {
  const entry = entryIn(line);
  if (entry === undefined) return { text: line, isTrouble: true };
  const { time, level, service: _service, event, error, ...fields } = entry;
  const isTrouble = level !== 'info';
  const words = [...messagesIn(error), ...(isTrouble && error === undefined ? [JSON.stringify(fields)] : [])];
  return { text: `${time} ${level} ${event}${words.map((word) => `: ${word}`).join('')}`, isTrouble };
}

function entryIn(line: string): Readonly<Record<string, unknown>> | undefined {
  if (!line.startsWith('{')) return undefined;
  try {
    const entry = Object(JSON.parse(line));
    return typeof entry.level === 'string' && typeof entry.event === 'string' ? entry : undefined;
  } catch {
    // Incomplete, or another text that starts with a brace.
    return undefined;
  }
}

/** The messages of an error and of its causes. */
const messagesIn = (error: unknown): readonly string[] =>
  Array.isArray(error) ? error.map((link) => String(Object(link).message)) : [];
