import type { ServerResponse } from 'node:http';
import type { Clock } from '@interlock/runtime';
import type { LiveRows } from './live-rows.ts';

/** Bytes of a message, and so of what waits for a viewer that reads slowly. */
const MESSAGE_BYTES_MAX = 256 * 1_024;
/** A comment this often shows viewer and server that the connection works, in milliseconds. */
const BEAT_MS = 10_000;
/** After a lost connection a browser connects again after this time, in milliseconds. */
const RETRY_MS = 1_000;

/** The windows that show the page. */
export interface Viewers {
  /** Sends changes until the connection ends. @param lastEventId of the last message that the viewer got: then only what changed since then */
  add(response: ServerResponse, lastEventId: string): void;
  /** How many there are. */
  readonly count: number;
  /** Resolves when there is one. */
  readonly present: () => Promise<void>;
}

/**
 * Sends rows to any number of viewers. What a viewer has is one number. A message is written only when the one before it has
 * left, so a viewer that reads slowly gets fewer and newer messages, and one that does not read holds one message until the
 * door drops it.
 * @param run names this start of the server: numbers of another start mean nothing
 */
export function viewersOf(rows: LiveRows, run: string, clock: Pick<Clock, 'alarm'>): Viewers {
  let count = 0;
  let arrived = Promise.withResolvers<void>();
  return {
    get count() {
      return count;
    },
    present: () => arrived.promise,
    add(response, lastEventId) {
      const [ofRun, number] = lastEventId.split('.');
      let sent = ofRun === run && /^\d{1,15}$/.test(number ?? '') ? Number(number) : 0;
      let [isFull, complete] = [false, 0];
      const write = (text: string): void => {
        isFull = !response.write(text);
      };
      const pump = (): void => {
        while (!isFull && !response.destroyed) {
          const part = rows.since(sent, MESSAGE_BYTES_MAX, complete);
          if (part === undefined) return;
          if (part.isReset) complete = rows.newest;
          sent = part.upTo;
          write(`id: ${run}.${sent}\ndata: ${part.text}\n\n`);
        }
      };
      const beat = (): void => {
        if (!isFull) write(': \n\n');
        alarm = clock.alarm(BEAT_MS, beat);
      };
      let alarm = clock.alarm(BEAT_MS, beat);
      const cancel = rows.listen(pump);
      count += 1;
      arrived.resolve();
      response.on('drain', () => {
        isFull = false;
        pump();
      });
      response.once('close', () => {
        cancel();
        alarm.cancel();
        count -= 1;
        if (count === 0) arrived = Promise.withResolvers();
      });
      write(`retry: ${RETRY_MS}\n\n`);
      pump();
    },
  };
}
