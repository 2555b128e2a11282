import { readFile } from 'node:fs/promises';
import type { Clock } from './clock.ts';
import { failureLog } from './failure-log.ts';
import type { Logger } from './logger.ts';
import { type Renewed, renewable } from './renewed.ts';

/** Files that belong together, and how to read them. */
export interface RenewedFilesOptions<Value> {
  /** Their name in the log: `TLS certificate`. */
  readonly what: string;
  /** Their paths. */
  readonly files: readonly string[];
  /**
   * Reads the value from the content of the files.
   * @param before the current value; undefined at the start
   * @throws Error if the files are incomplete, do not match, or are worse than the current value
   */
  readonly parse: (textOf: (file: string) => string, before: Value | undefined) => Value;
  /** What the log may contain about a value. */
  readonly describe: (value: Value) => Readonly<Record<string, string>>;
  readonly clock: Clock;
  readonly log: Logger;
  /** Milliseconds between two reads. */
  readonly intervalMs: number;
}

/** A value that follows its files until it is closed. */
export interface RenewedFiles<Value> extends Renewed<Value> {
  close(): Promise<void>;
}

/**
 * Reads files now and then periodically. Compares their content, because a kubelet replaces the folder of a Secret: the
 * file names stay, and not every file system changes the file times. If the files cannot be read or do not match (a renewal
 * is being written), the previous value stays in use, a warning is logged, and the next read tries again.
 * @throws Error if the first read fails
 */
export const renewedFiles = async <Value>(options: RenewedFilesOptions<Value>): Promise<RenewedFiles<Value>> => {
  const { what, files, describe, clock, log, intervalMs } = options;
  const read = (): Promise<readonly string[]> => Promise.all(files.map((file) => readFile(file, 'utf8')));
  const parse = (texts: readonly string[], before: Value | undefined): Value =>
    options.parse((file) => texts[files.indexOf(file)] ?? '', before);

  let inUse = await read();
  const value = renewable(parse(inUse, undefined));
  log.info(`${what} read`, describe(value.current()));
  const closing = new AbortController();
  const attempts = failureLog({
    log,
    clock,
    failing: `${what} cannot be renewed: the one from before stays in use`,
    back: `${what} is in order again`,
  });

  const look = async (): Promise<void> => {
    try {
      const texts = await read();
      if (texts.some((text, at) => text !== inUse[at])) {
        const next = parse(texts, value.current());
        inUse = texts;
        value.renew(next);
        log.info(`${what} renewed`, describe(next));
      }
      attempts.succeeded();
    } catch (error) {
      attempts.failed(error, { files: files.join(', ') });
    }
  };
  const follow = async (): Promise<void> => {
    for (;;) {
      await clock.sleep(intervalMs, closing.signal);
      if (closing.signal.aborted) return;
      await look();
    }
  };
  const following = follow();

  return {
    current: value.current,
    onRenewal: value.onRenewal,
    close: () => {
      closing.abort();
      return following;
    },
  };
};
