import { type Category, StoreUnavailable } from '@interlock/event-store';
import { type Clock, failureLog, type Logger } from '@interlock/runtime';
import type { Engine } from './engine.ts';
import { isToBeClosed, type Vm } from './vm/decider.ts';
import type { VmEvent } from './vm/events.ts';

/** Has the disks of whole fleets closed that were stopped without guests. */
export interface Closings {
  /** Some machines with disks of these sets may have disks to be closed. Safe to say twice. */
  ofSet(set: string): void;
  /** Works until `signal` is aborted; what is not finished then the sweep finds. */
  run(signal: AbortSignal): Promise<void>;
}

/** Machines read at once. */
const pageSize = 1_000;
/** How long disks that nobody uses any more wait, in milliseconds: stops of other sets, and telling them, go first. */
const pauseMs = 500;
/** Pause before a store that could not be reached is asked again, in milliseconds. */
const retryMs = 1_000;

/**
 * Goes through the machines of a set page by page and hands those with something to close to the engine, no faster than
 * that works them off: a fleet that stops at once leaves as much to be closed, and none of it is urgent or has to be kept
 * in mind, for the machines themselves say it.
 */
export const closings = (parts: {
  readonly vms: Category<Vm, VmEvent>;
  readonly engine: Pick<Engine, 'kick' | 'room'>;
  readonly clock: Clock;
  readonly log: Logger;
}): Closings => {
  const { vms, engine, clock, log } = parts;
  const waiting = new Set<string>();
  let woken = Promise.withResolvers<void>();

  const closeAll = async (set: string, signal: AbortSignal): Promise<void> => {
    let after: string | undefined;
    do {
      await engine.room(signal);
      if (signal.aborted) return;
      const page = await vms.list({
        index: { index: 'set', value: set },
        limit: pageSize,
        ...(after === undefined ? {} : { after }),
      });
      engine.kick(page.items.filter(({ state }) => isToBeClosed(state)).map(({ id }) => id));
      after = page.next;
    } while (after !== undefined);
  };

  return {
    ofSet(set) {
      waiting.add(set);
      woken.resolve();
    },
    async run(signal) {
      const attempts = failureLog({ log, clock, failing: 'disks are not closed', back: 'disks are closed again' });
      signal.addEventListener('abort', () => woken.resolve(), { once: true });
      while (!signal.aborted) {
        const [set] = waiting;
        if (set === undefined) {
          woken = Promise.withResolvers();
          await woken.promise;
          continue;
        }
        await clock.sleep(pauseMs, signal);
        waiting.delete(set);
        try {
          await closeAll(set, signal);
          attempts.succeeded();
        } catch (error) {
          if (!(error instanceof StoreUnavailable)) throw error;
          waiting.add(set);
          attempts.failed(error, { set });
          await clock.sleep(retryMs, signal);
        }
      }
    },
  };
};
