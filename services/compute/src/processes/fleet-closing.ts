import { type Loaded, StoreUnavailable } from '@interlock/event-store';
import { failureLog } from '@interlock/runtime';
import { Interrupted, orInterrupted, TimedOut } from '../disk-service/disks.ts';
import type { DiskClosing } from '../losses/set-pass.ts';
import { isToBeClosed } from '../vm/decider.ts';
import type { Machine, Vm } from '../vm/state.ts';
import { type ClosingParts, closeMachines } from './closing.ts';
import type { Engine } from './engine.ts';

/** Machines read, and closed together. */
const pageSize = 1_000;
/** How long unused disks wait, in milliseconds: publishing that their machines are off goes first. */
const pauseMs = 500;
/** Pause before an unreachable store is called again, in milliseconds. */
const retryMs = 1_000;
/** How long a page may take before the engine closes its machines one by one, in milliseconds. */
const pageMs = 30_000;

/** Means every set. */
const everySet = '';

type Parts = ClosingParts & { readonly engine: Pick<Engine, 'kick' | 'room'> };

/**
 * Closes the disks of a set's machines page by page: a fleet that stops at once leaves many. Nothing is urgent and nothing is
 * kept in memory, because the machines record which disks are open. If a disk of a page does not respond, the engine closes
 * that page machine by machine, so one disk delays no other.
 */
export class FleetClosing implements DiskClosing {
  readonly #parts: Parts;
  readonly #waiting = new Set<string>();
  #woken = Promise.withResolvers<void>();
  /** Work that goes first and is running. */
  #goingFirst = 0;
  #clear = Promise.withResolvers<void>();

  constructor(parts: Parts) {
    this.#parts = parts;
  }

  /** Machines of this set may have disks to close. A repeat changes nothing. */
  ofSet(set: string): void {
    this.#waiting.add(set);
    this.#woken.resolve();
  }

  /** Machines of any set may have disks to close: more than the engine has room for. */
  everywhere(): void {
    this.ofSet(everySet);
  }

  /** Runs work that goes first: no page starts meanwhile. */
  async after<Result>(work: () => Promise<Result>): Promise<Result> {
    this.#goingFirst += 1;
    try {
      return await work();
    } finally {
      this.#goingFirst -= 1;
      if (this.#goingFirst === 0) {
        this.#clear.resolve();
        this.#clear = Promise.withResolvers();
      }
    }
  }

  /** Runs until `signal` is aborted; the sweep finds what is left. */
  async run(signal: AbortSignal): Promise<void> {
    const { clock, log } = this.#parts;
    const attempts = failureLog({ log, clock, failing: 'disks are not closed', back: 'disks are closed again' });
    signal.addEventListener('abort', () => this.#woken.resolve(), { once: true });
    while (!signal.aborted) {
      const [set] = this.#waiting;
      if (set === undefined) {
        this.#woken = Promise.withResolvers();
        await this.#woken.promise;
        continue;
      }
      await clock.sleep(pauseMs, signal);
      this.#waiting.delete(set);
      try {
        await this.#closeAll(set, signal);
        attempts.succeeded();
      } catch (error) {
        if (error instanceof Interrupted) continue;
        if (!(error instanceof StoreUnavailable)) throw error;
        this.#waiting.add(set);
        attempts.failed(error, { set });
        await clock.sleep(retryMs, signal);
      }
    }
  }

  async #closeAll(set: string, signal: AbortSignal): Promise<void> {
    let after: string | undefined;
    do {
      while (this.#goingFirst > 0 && !signal.aborted) await orInterrupted(this.#clear.promise, signal);
      const page = await this.#parts.vms.list({
        ...(set === everySet ? {} : { index: { index: 'set', value: set } }),
        limit: pageSize,
        ...(after === undefined ? {} : { after }),
      });
      await this.#closePage(page.items.filter(hasDisksToClose), signal);
      after = page.next;
    } while (after !== undefined && !signal.aborted);
  }

  async #closePage(machines: readonly Loaded<Machine>[], signal: AbortSignal): Promise<void> {
    const { engine, clock, log } = this.#parts;
    if (machines.length === 0) return;
    try {
      await closeMachines(this.#parts, machines, { signal, untilMs: clock.now() + pageMs });
    } catch (error) {
      if (!(error instanceof TimedOut)) throw error;
      log.warn('disks of a fleet are closed machine by machine', { machines: machines.length, error });
      await engine.room(signal);
      engine.kick(machines.map(({ id }) => id));
    }
  }
}

const hasDisksToClose = (one: Loaded<Vm>): one is Loaded<Machine> => isToBeClosed(one.state);
