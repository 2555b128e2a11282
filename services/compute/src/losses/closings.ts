import { type Loaded, StoreUnavailable } from '@interlock/event-store';
import { failureLog } from '@interlock/runtime';
import { isToBeClosed } from '../vm/decider.ts';
import type { Machine, Vm } from '../vm/state.ts';
import { type ClosingParts, closeMachines } from '../work/closing.ts';
import { Interrupted, orInterrupted, TimedOut } from '../work/disks.ts';
import type { Engine } from '../work/engine.ts';

/** Has the disks of whole fleets closed that were stopped without guests. */
export interface Closings {
  /** Some machines with disks of these sets may have disks to be closed. Safe to say twice. */
  ofSet(set: string): void;
  /** The same of any machine: more of them have disks to be closed than the engine has room for. */
  everywhere(): void;
  /** Does something that goes first: no page is begun meanwhile. */
  after<Result>(work: () => Promise<Result>): Promise<Result>;
  /** Works until `signal` is aborted; what is not finished then the sweep finds. */
  run(signal: AbortSignal): Promise<void>;
}

/** Machines read, and closed together. */
const pageSize = 1_000;
/** How long disks that nobody uses any more wait, in milliseconds: telling that their machines are off goes first. */
const pauseMs = 500;
/** Pause before a store that could not be reached is asked again, in milliseconds. */
const retryMs = 1_000;
/** How long a page may take before its machines are left to the engine, each on its own, in milliseconds. */
const pageMs = 30_000;

/** Stands for every set. */
const everySet = '';

/**
 * Goes through the machines of a set page by page and closes their disks together: a fleet that stops at once leaves as much
 * to be closed, and none of it is urgent or has to be kept in mind, for the machines themselves say it. A page in which some
 * disk gives no answer is left to the engine, so that one holds up no other.
 */
export const closings = (parts: ClosingParts & { readonly engine: Pick<Engine, 'kick' | 'room'> }): Closings => {
  const { vms, engine, clock, log } = parts;
  const waiting = new Set<string>();
  let woken = Promise.withResolvers<void>();
  let goingFirst = 0;
  let clear = Promise.withResolvers<void>();

  /** Waits for what goes first. */
  const untilClear = async (signal: AbortSignal): Promise<void> => {
    while (goingFirst > 0 && !signal.aborted) await orInterrupted(clear.promise, signal);
  };

  const closePage = async (machines: readonly Loaded<Machine>[], signal: AbortSignal): Promise<void> => {
    if (machines.length === 0) return;
    try {
      await closeMachines(parts, machines, { signal, untilMs: clock.now() + pageMs });
    } catch (error) {
      if (!(error instanceof TimedOut)) throw error;
      log.warn('disks of a fleet are closed machine by machine', { machines: machines.length, error });
      await engine.room(signal);
      engine.kick(machines.map(({ id }) => id));
    }
  };

  const closeAll = async (set: string, signal: AbortSignal): Promise<void> => {
    let after: string | undefined;
    do {
      await untilClear(signal);
      const page = await vms.list({
        ...(set === everySet ? {} : { index: { index: 'set', value: set } }),
        limit: pageSize,
        ...(after === undefined ? {} : { after }),
      });
      await closePage(page.items.filter(hasDisksToClose), signal);
      after = page.next;
    } while (after !== undefined && !signal.aborted);
  };

  const say = (set: string): void => {
    waiting.add(set);
    woken.resolve();
  };

  return {
    ofSet: say,
    everywhere: () => say(everySet),
    async after(work) {
      goingFirst += 1;
      try {
        return await work();
      } finally {
        goingFirst -= 1;
        if (goingFirst === 0) {
          clear.resolve();
          clear = Promise.withResolvers();
        }
      }
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
          if (error instanceof Interrupted) continue;
          if (!(error instanceof StoreUnavailable)) throw error;
          waiting.add(set);
          attempts.failed(error, { set });
          await clock.sleep(retryMs, signal);
        }
      }
    },
  };
};

const hasDisksToClose = (one: Loaded<Vm>): one is Loaded<Machine> => isToBeClosed(one.state);
