import type { TestEvent } from 'node:test/reporters';

/** A test that failed. */
export interface Failure {
  readonly name: string;
  /** The test file that ran, also if it imports the file that defines the test. */
  readonly file: string | undefined;
  /** The file that defines the test: another one, if the file that ran imports it. */
  readonly definedIn: string | undefined;
  /** First line of the error; of a file that failed itself, how its process ended, and the last error that it printed. */
  readonly reason: string;
}

/** What passed and failed in a test run. */
export interface Results {
  readonly passed: number;
  readonly failed: number;
  readonly failures: readonly Failure[];
}

/** The result of a test run. */
export interface Summary extends Results {
  /** How long each file took, in milliseconds. */
  readonly files: readonly FileTime[];
}

/** A test file and how long it took, or how much processor time. */
export interface FileTime {
  readonly file: string;
  readonly ms: number;
}

/**
 * A reporter for `node --test` that prints one line of JSON, a {@link Summary}, when all files have run. A file that does not
 * load counts as one failure; skipped tests count neither as passed nor as failed.
 */
export default async function* summary(events: AsyncIterable<TestEvent>): AsyncGenerator<string> {
  const failures: Failure[] = [];
  const files: FileTime[] = [];
  /** By file. */
  const lastErrors = new Map<string | undefined, string>();
  for await (const event of events) {
    if (event.type === 'test:stderr') noteError(lastErrors, event.data);
    if (event.type === 'test:fail') failures.push(...failureOf(event.data, lastErrors));
    if (event.type !== 'test:summary') continue;
    // There is one such event for each file, and one without a file for all of them.
    const { file, duration_ms: ms } = event.data;
    if (file !== undefined) {
      files.push({ file, ms: Math.round(ms) });
      continue;
    }
    const { passed, tests, skipped, todo } = event.data.counts;
    yield `${JSON.stringify({ passed, failed: tests - passed - skipped - todo, failures, files } satisfies Summary)}\n`;
  }
}

/** Nothing for a test that failed only because of a test inside it: that one is listed itself. */
function failureOf(data: DataOf<'test:fail'>, lastErrors: ReadonlyMap<string | undefined, string>): Failure[] {
  const { name, details } = data;
  const { error } = details;
  if ('failureType' in error && error.failureType === 'subtestsFailed') return [];
  const message = error.cause instanceof Error ? error.cause.message : error.message;
  const [first = ''] = message.split('\n', 1);
  const file = entryFileOf(data) ?? data.file;
  const reason = [first, endOf(error), 'exitCode' in error && lastErrors.get(file)].filter(Boolean).join(': ');
  return [{ name, file, definedIn: data.file, reason }];
}

type DataOf<Type extends TestEvent['type']> = Extract<TestEvent, { type: Type }>['data'];

/** How the process of a file ended, if that is why it failed. */
const endOf = (error: Error): string => {
  if ('signal' in error && error.signal) return `ended by ${error.signal}`;
  return 'exitCode' in error ? `exit code ${error.exitCode}` : '';
};

/** Keeps the last line of a file's standard error that names an error. */
const noteError = (lastErrors: Map<string | undefined, string>, { file, message }: DataOf<'test:stderr'>): void => {
  const line = message.split('\n').findLast((text) => /\w(Error|Rejection)\b/.test(text));
  if (line !== undefined) lastErrors.set(file, line.trim());
};

/** Node's types lack these fields: `file` defines the test, `entryFile` was started. */
const entryFileOf = (data: object): string | undefined =>
  'entryFile' in data && typeof data.entryFile === 'string' ? data.entryFile : undefined;
