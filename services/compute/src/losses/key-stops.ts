import type { Category, Cause, Page, Rejection, RowChange, Transacted } from '@interlock/event-store';
import type { Clock, Random } from '@interlock/runtime';
import type { Driver } from '../guests/driver.ts';
import type { VmEvent } from '../vm/events.ts';
import { applyKeyLoss, explainOutage, type LossTerms, type SetLoss } from '../vm/key-loss.ts';
import type { Work } from '../vm/machine.ts';
import type { Vm } from '../vm/state.ts';
import { type Disks, Interrupted, orInterrupted } from '../work/disks.ts';
import type { Closings } from './closings.ts';
import type { Losses } from './losses.ts';
import { pageOfSet, throughSet } from './set-pass.ts';
import type { StopMeter } from './stop-metrics.ts';

/** How a loss was heard of. */
export interface LossNews {
  readonly loss: SetLoss;
  /**
   * Whether only some disks of the set are under the lost version: then the disk service is asked which. When it does
   * not answer soon, those that compute itself believes to be count too; the sweep finds the others.
   */
  readonly isPartial: boolean;
}

/** Stops machines whose key is lost. */
export interface KeyStops {
  /**
   * Stops every machine that a loss concerns, however many, each once however often it is heard of (VM-45). Heard of again
   * while its pass is under way, it waits for that one: disk hosts report a loss until they get an answer, and a pass over a fleet for
   * each of these reports would be more than all of its stops.
   * @returns how many are being stopped by the pass
   * @throws Rejection when the disk service refuses to say which disks are meant: nothing is stopped then
   * @throws Interrupted
   */
  stopFor(news: LossNews, cause: Cause, signal: AbortSignal): Promise<number>;
  /** Says to machines that an outage stopped what was behind that (G3). */
  explain(loss: SetLoss, cause: Cause): Promise<void>;
}

/**
 * How long the disk service may take to say which disks are meant, in milliseconds: losses are handled in turn, so the
 * machines of other sets wait as long.
 */
const confirmMs = 3_000;

/**
 * One pass: a page of machines is read and decided while the one before is stored, one commit a page; only pages in
 * which a machine moved meanwhile are decided again. No machine is asked about over the network, and shutting down
 * begins page by page, beside the pass.
 *
 * Machines that open their disks while the pass runs are not missed: the loss is remembered before it begins (see `Losses`),
 * in the commit of what its first page, read beforehand, decides: so one machine alone is off as soon as the loss is known.
 */
export const keyStops = (parts: {
  readonly vms: Category<Vm, VmEvent>;
  readonly disks: Disks;
  readonly driver: Driver;
  readonly losses: Losses;
  readonly clock: Clock;
  readonly random: Random;
  /** Told which machines are being stopped and are not off yet. */
  readonly preempt: (ids: readonly string[]) => void;
  /** Told that machines of a set are off and their disks are to be closed, which waits for every pass that is under way. */
  readonly closing: Pick<Closings, 'ofSet' | 'after'>;
  readonly measure: StopMeter;
}): KeyStops => {
  const { vms, disks, driver, losses, clock, random, preempt, closing, measure } = parts;

  const disksUnder = async (
    { set, keyVersion }: SetLoss,
    signal: AbortSignal,
  ): Promise<NonNullable<LossTerms['isUnder']>> => {
    const patience = new AbortController();
    const answered = new AbortController();
    void clock.sleep(confirmMs, answered.signal, signal).then(() => patience.abort());
    const confirmed = new Set<string>();
    try {
      const under = disks.ofSet({ diskEncryptionSet: set, keyVersion }, { signal: patience.signal });
      for await (const { name } of under) confirmed.add(name);
      return ({ disk }) => confirmed.has(disk);
    } catch (error) {
      if (!(error instanceof Interrupted) || signal.aborted) throw error;
      return (disk) => confirmed.has(disk.disk) || disk.keyVersion === keyVersion;
    } finally {
      answered.abort();
    }
  };

  /** One pass over the machines of a set. */
  const openPass = (set: string, decide: (vm: Vm) => readonly VmEvent[], cause: Cause) => {
    let stopped = 0;
    let off = 0;
    let contended: readonly Rejection[] = [];
    /** Decides about a page, in one commit with these rows. */
    const store = async (page: Page<Vm>, rows: readonly RowChange[] = []): Promise<void> => {
      const options = { rows, onContention: 'reject' } as const;
      const { changed, rejected } = await vms.transactMany(page.items, decide, cause, options);
      for (const { events } of changed) measure(events);
      const { count, unfinished } = stoppingOf(changed);
      stopped += count;
      off += count - unfinished.length;
      preempt(unfinished);
      const refusals = rejected.map(({ rejection }) => rejection);
      contended = [...contended, ...refusals.filter(({ reason }) => reason === 'CONTENTION')];
    };
    return {
      store,
      /**
       * Goes through all of them, a page a commit. @returns how many are being stopped by this pass
       * @throws Rejection CONTENTION, once the others are dealt with, when somebody keeps changing a machine: it is to be run again
       */
      async run(): Promise<number> {
        contended = [];
        await throughSet(vms, set, store);
        if (off > 0) closing.ofSet(set);
        for (const refusal of contended) throw refusal;
        return stopped;
      },
    };
  };

  const stopFor: KeyStops['stopFor'] = async ({ loss, isPartial }, cause, signal) => {
    const terms = { loss, work: keyStopWork(cause, clock, random), isInstant: !driver.hasGuests };
    if (isPartial) {
      // What is asked of the disk service may take a while: whoever opens disks meanwhile is to find the loss.
      await losses.remember(loss, cause);
      const isUnder = await disksUnder(loss, signal);
      // A host may report when all is over. What was unwrapped before is stopped then as well, but no start fails any more.
      const isOver = !(await losses.anyLost([loss]));
      return openPass(loss.set, applyKeyLoss({ ...terms, isUnder, isOver }), cause).run();
    }
    const pass = openPass(loss.set, applyKeyLoss(terms), cause);
    const [first, news] = await Promise.all([pageOfSet(vms, loss.set, undefined), losses.heard(loss, cause)]);
    await pass.store(first, news);
    // From the first page on again: who opened disks after that was read and before the loss was stored knows nothing of it.
    return pass.run();
  };

  /** By loss, the pass that is under way. */
  const underWay = new Map<string, { readonly isPartial: boolean; readonly pass: Promise<number> }>();

  const begin: KeyStops['stopFor'] = (news, cause, signal) => {
    const name = nameOf(news.loss);
    const pass = closing.after(() => stopFor(news, cause, signal));
    const begun = { isPartial: news.isPartial, pass };
    underWay.set(name, begun);
    const end = (): void => {
      if (underWay.get(name) === begun) underWay.delete(name);
    };
    void pass.then(end, end);
    return pass;
  };

  const joinOrBegin: KeyStops['stopFor'] = async (news, cause, signal) => {
    for (;;) {
      const known = underWay.get(nameOf(news.loss));
      // A pass over some disks of the set is not enough for who says that all are meant.
      if (known === undefined || (known.isPartial && !news.isPartial)) return begin(news, cause, signal);
      try {
        return await orInterrupted(known.pass, signal);
      } catch (error) {
        // Whoever began it went away; we are still here.
        if (!(error instanceof Interrupted) || signal.aborted) throw error;
      }
    }
  };

  return {
    stopFor: joinOrBegin,
    async explain(loss, cause) {
      await openPass(loss.set, explainOutage(loss, clock.now()), cause).run();
    },
  };
};

/** What tells a loss from others; another reason of the same number is a correction, and news. */
const nameOf = ({ set, keyVersion, accessEpoch, reason, principal = '' }: SetLoss): string =>
  [set, keyVersion, accessEpoch, reason, principal].join(' ');

/** What was decided to stop: how many machines, and which of them are not off yet. */
interface Stopping {
  readonly count: number;
  readonly unfinished: readonly string[];
}

const stoppingOf = (decided: readonly Pick<Transacted<Vm, VmEvent>, 'id' | 'events'>[]): Stopping => {
  const stopping = decided.filter(({ events }) => events.some(({ type }) => type === 'VmStopping'));
  const unfinished = stopping.filter(({ events }) => !events.some(({ type }) => type === 'VmStopped'));
  return { count: stopping.length, unfinished: unfinished.map(({ id }) => id) };
};

/** A stop by the platform as a piece of work: nobody asked, and its correlation is that of the change behind it (VM-44). */
export const keyStopWork = (cause: Cause, clock: Clock, random: Random): Work => ({
  id: random.uuid(),
  kind: 'keyStop',
  at: clock.now(),
  ...cause,
  caller: 'system:compute',
});
