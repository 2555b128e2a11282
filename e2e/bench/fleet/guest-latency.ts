import { fork } from 'node:child_process';
import { once } from 'node:events';
import { join } from 'node:path';
import type { Scope } from '@interlock/runtime';
import type { DataTarget } from '../disk-io/data-client.ts';

/** Bytes of a read or write. */
export const ioBytes = 4_096;

/** What guests are told. `open` comes once, with their disks. */
export interface ToGuests {
  readonly what: 'open' | 'begin' | 'end';
  readonly targets: readonly DataTarget[];
}

/** What guests tell. */
export interface FromGuests {
  /** How long each piece took. */
  readonly tookMs: readonly number[];
  /** By how much the event loop of the guests came late, at p99: what of `tookMs` is made where it is measured. */
  readonly loopLateMs: number;
}

/** Guests that read and write, and how long that takes them. */
export interface Guests {
  /** Reads and writes until the work is done. @throws Error where a piece failed (G6) */
  during(work: () => Promise<unknown>): Promise<FromGuests>;
}

/**
 * Guests in a process of their own: in that of a bench they would wait for what the bench does beside them, and one wait of it
 * meets a piece of each disk at once.
 */
export const openGuests = async (targets: readonly DataTarget[], scope: Scope): Promise<Guests> => {
  const guests = fork(join(import.meta.dirname, 'guest-latency-process.ts'), {
    stdio: ['ignore', 'inherit', 'inherit', 'ipc'],
  });
  scope.defer('guests', async () => {
    guests.kill('SIGKILL');
  });
  const over = once(guests, 'exit').then(() => {
    throw new Error('a guest failed: what it met is above');
  });
  over.catch(() => undefined);
  const tell = (what: ToGuests['what']): void => {
    guests.send({ what, targets: what === 'open' ? targets : [] } satisfies ToGuests);
  };
  const told = async (): Promise<FromGuests> => {
    const [answer] = await Promise.race([once(guests, 'message'), over]);
    return answer as FromGuests;
  };
  tell('open');
  await told();
  return {
    async during(work) {
      tell('begin');
      await Promise.race([work(), over]);
      tell('end');
      return told();
    },
  };
};
