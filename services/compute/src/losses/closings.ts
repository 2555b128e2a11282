import { type Loaded, StoreUnavailable } from '@interlock/event-store';
import { failureLog } from '@interlock/runtime';
import { isToBeClosed } from '../vm/decider.ts';
import type { Machine, Vm } from '../vm/state.ts';
import { type ClosingParts, closeMachines } from '../work/closing.ts';
import { Interrupted, orInterrupted, TimedOut } from '../work/disks.ts';
import type { Engine } from '../work/engine.ts';

/** Closes the disks of fleets that stopped without guests. */
export interface Closings {
  /** Machines of this set may have disks to close. A repeat changes nothing. */
  ofSet(set: string): void;
  /** Machines of any set may have disks to close: more than the engine has room for. */
  everywhere(): void;
  /** Runs work that goes first: no page starts meanwhile. */
  after<Result>(work: () => Promise<Result>): Promise<Result>;
  /** Runs until `signal` is aborted; the sweep finds what is left. */
  run(signal: AbortSignal): Promise<void>;
}

/** Machines read, and closed together. */
const pageSize = 1_000;
/** How long unused disks wait, in milliseconds: publishing that their machines are off goes first. */
const pauseMs = 500;
/** Pause before an unreachable store is called again, in milliseconds. */
const retryMs = 1_000;
/** How long a page may take before the engine closes its machines one by one, in milliseconds. */
const pageMs = 30_000;

/** Stands for every set. */
const everySet = '';

/**
 * Closes the disks of a set's machines page by page: a fleet that stops at once leaves many. Nothing is urgent and nothing is
 * kept in memory, because the machines record which disks are open. If a disk of a page does not respond, the engine closes
 * that page machine by machine, so one disk delays no other.
 */
export const closings = (parts: ClosingParts & { readonly engine: Pick<Engine, 'kick' | 'room'> }): Closings => {
  const { vms, engine, clock, log } = parts;
  const waiting = new Set<string>();
  let woken = Promise.withResolvers<void>();
  let goingFirst = 0;
  let clear = Promise.withResolvers<void>();

  /** Waits for the work that goes first. */
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

  const enqueue = (set: string): void => {
    waiting.add(set);
    woken.resolve();
  };

  return {
    ofSet: enqueue,
    everywhere: () => enqueue(everySet),
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
