import type { Category, Cause, Page, Rejection, RowChange, Transacted } from '@interlock/event-store';
import type { Clock, Random } from '@interlock/runtime';
import { type Disks, Interrupted, orInterrupted } from '../disk-service/disks.ts';
import type { Guests } from '../guests/guests.ts';
import { keyStopWork, unlessCaused } from '../vm/causes.ts';
import type { VmEvent } from '../vm/events.ts';
import { applyKeyLoss, explainOutage, type LossTerms, type SetLoss } from '../vm/key-loss.ts';
import type { Vm } from '../vm/state.ts';
import type { Losses } from './losses.ts';
import { type DiskClosing, pageOfSet, throughSet } from './set-pass.ts';
import type { StopMeter } from './stop-metrics.ts';

/** A loss and what it applies to. */
export interface LossNews {
  readonly loss: SetLoss;
  /**
   * Whether only some disks of the set are under the lost version. The disk service then lists them. If it does not respond
   * in time, the disks that compute has under that version are added; the sweep finds the others.
   */
  readonly isPartial: boolean;
}

/** What the stops of a fleet need. */
export interface StopParts {
  readonly vms: Category<Vm, VmEvent>;
  readonly disks: Disks;
  readonly guests: Pick<Guests, 'hasGuests'>;
  readonly losses: Losses;
  readonly clock: Clock;
  readonly random: Random;
  /** Called with the machines that are stopping and not off yet. */
  readonly preempt: (ids: readonly string[]) => void;
  /** Closes the disks of machines that are off, after every pass that is running. */
  readonly closing: DiskClosing;
  readonly measure: StopMeter;
}

/** How long the disk service may take to list disks, in milliseconds. Losses are handled one after another, so others wait. */
const confirmMs = 3_000;

/**
 * Stops machines whose key is lost.
 *
 * One pass reads and decides a page of machines while the previous page is stored: one commit a page, and no call per
 * machine. Only pages with a conflict are decided again. Guests shut down in parallel.
 *
 * The loss is stored in the commit of the first page, so a single machine is off as soon as the loss is known. A machine that
 * opens its disks during the pass finds the loss itself (see `Losses`).
 */
export class KeyStops {
  readonly #parts: StopParts;
  /** By loss: the pass that is running. */
  readonly #running = new Map<string, { readonly isPartial: boolean; readonly pass: Promise<number> }>();

  constructor(parts: StopParts) {
    this.#parts = parts;
  }

  /**
   * Stops every machine that a loss concerns, each once (VM-45). Disk hosts repeat a report until it is answered, so a repeat
   * of a loss waits for the pass that is running instead of starting another one.
   * @returns the number of machines that the pass stops
   * @throws Rejection when the disk service refuses to list the disks (then nothing is stopped), or CONTENTION after the other
   *   machines are stored
   * @throws Interrupted
   */
  async stopFor(news: LossNews, cause: Cause, signal: AbortSignal): Promise<number> {
    for (;;) {
      const running = this.#running.get(nameOf(news.loss));
      // A pass over some disks of the set does not cover a loss that concerns all of them.
      if (running === undefined || (running.isPartial && !news.isPartial)) return this.#start(news, cause, signal);
      try {
        return await orInterrupted(running.pass, signal);
      } catch (error) {
        // The caller that started the pass was interrupted; this one was not.
        if (!(error instanceof Interrupted) || signal.aborted) throw error;
      }
    }
  }

  /** Records the loss behind an outage at the machines that the outage stopped (G3). */
  async explain(loss: SetLoss, cause: Cause): Promise<void> {
    await new StopPass(this.#parts, loss.set, explainOutage(loss, this.#parts.clock.now()), cause).run();
  }

  #start(news: LossNews, cause: Cause, signal: AbortSignal): Promise<number> {
    const name = nameOf(news.loss);
    const pass = this.#parts.closing.after(() => this.#pass(news, cause, signal));
    const started = { isPartial: news.isPartial, pass };
    this.#running.set(name, started);
    const end = (): void => {
      if (this.#running.get(name) === started) this.#running.delete(name);
    };
    void pass.then(end, end);
    return pass;
  }

  async #pass({ loss, isPartial }: LossNews, cause: Cause, signal: AbortSignal): Promise<number> {
    const { vms, guests, losses, clock, random } = this.#parts;
    const terms = { loss, work: keyStopWork(cause, clock, random), isInstant: !guests.hasGuests };
    if (isPartial) {
      // Listing disks may take a while, so the loss is stored before it: an open meanwhile finds it.
      await losses.remember(loss, cause);
      const isUnder = await this.#disksUnder(loss, signal);
      // A report may arrive after access was restored. It still stops what unwrapped before, and blocks no start.
      const isOver = !(await losses.anyLost([loss]));
      return new StopPass(this.#parts, loss.set, applyKeyLoss({ ...terms, isUnder, isOver }), cause).run();
    }
    const pass = new StopPass(this.#parts, loss.set, applyKeyLoss(terms), cause);
    const [first, rows] = await Promise.all([pageOfSet(vms, loss.set, undefined), losses.rowsFor(loss, cause)]);
    await pass.store(first, rows);
    // The first page again: a machine that opened its disks after that read and before the commit did not find the loss.
    return pass.run();
  }

  async #disksUnder({ set, keyVersion }: SetLoss, signal: AbortSignal): Promise<NonNullable<LossTerms['isUnder']>> {
    const { disks, clock } = this.#parts;
    const patience = new AbortController();
    const listed = new AbortController();
    void clock.sleep(confirmMs, listed.signal, signal).then(() => patience.abort());
    const confirmed = new Set<string>();
    try {
      const under = disks.ofSet({ diskEncryptionSet: set, keyVersion }, { signal: patience.signal });
      for await (const { name } of under) confirmed.add(name);
      return ({ disk }) => confirmed.has(disk);
    } catch (error) {
      if (!(error instanceof Interrupted) || signal.aborted) throw error;
      return (disk) => confirmed.has(disk.disk) || disk.keyVersion === keyVersion;
    } finally {
      listed.abort();
    }
  }
}

/** One pass over the machines of a set. */
class StopPass {
  readonly #parts: StopParts;
  readonly #set: string;
  readonly #decide: (vm: Vm) => readonly VmEvent[];
  readonly #cause: Cause;
  #stopped = 0;
  #off = 0;
  #contended: readonly Rejection[] = [];

  constructor(parts: StopParts, set: string, decide: (vm: Vm) => readonly VmEvent[], cause: Cause) {
    this.#parts = parts;
    this.#set = set;
    this.#decide = decide;
    this.#cause = cause;
  }

  /** Decides about a page, in one commit with these rows. */
  async store(page: Page<Vm>, rows: readonly RowChange[] = []): Promise<void> {
    const { vms, measure, preempt } = this.#parts;
    const options = { rows, onContention: 'reject', ...unlessCaused(this.#cause, 'open') } as const;
    const { changed, rejected } = await vms.transactMany(page.items, this.#decide, this.#cause, options);
    for (const { events } of changed) measure(events);
    const { count, unfinished } = stoppingOf(changed);
    this.#stopped += count;
    this.#off += count - unfinished.length;
    preempt(unfinished);
    const refusals = rejected.map(({ rejection }) => rejection);
    this.#contended = [...this.#contended, ...refusals.filter(({ reason }) => reason === 'CONTENTION')];
  }

  /**
   * Decides about all of them, a page a commit.
   * @returns the number of machines that this pass stops
   * @throws Rejection CONTENTION, after the other machines are stored, if others keep changing a machine: call it again
   */
  async run(): Promise<number> {
    this.#contended = [];
    await throughSet(this.#parts.vms, this.#set, (page) => this.store(page));
    if (this.#off > 0) this.#parts.closing.ofSet(this.#set);
    for (const refusal of this.#contended) throw refusal;
    return this.#stopped;
  }
}

/** Distinguishes losses. Another reason of the same number is a correction, and is applied too. */
const nameOf = ({ set, keyVersion, accessEpoch, reason, principal = '' }: SetLoss): string =>
  [set, keyVersion, accessEpoch, reason, principal].join(' ');

/** The machines that a commit stops: how many, and which of them are not off yet. */
interface Stopping {
  readonly count: number;
  readonly unfinished: readonly string[];
}

const stoppingOf = (decided: readonly Pick<Transacted<Vm, VmEvent>, 'id' | 'events'>[]): Stopping => {
  const stopping = decided.filter(({ events }) => events.some(({ type }) => type === 'VmStopping'));
  const unfinished = stopping.filter(({ events }) => !events.some(({ type }) => type === 'VmStopped'));
  return { count: stopping.length, unfinished: unfinished.map(({ id }) => id) };
};
