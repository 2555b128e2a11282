import { isOutage } from '@interlock/access';
import { type Category, type Loaded, Rejection, StoreUnavailable } from '@interlock/event-store';
import type { Clock, Logger, Random } from '@interlock/runtime';
import type { VmHost } from '../guests/vm-host.ts';
import { limiter } from '../limiter.ts';
import type { Closings } from '../losses/closings.ts';
import type { KeyReturns } from '../losses/key-returns.ts';
import type { KeyStops } from '../losses/key-stops.ts';
import { type LostDisks, reasonOf } from '../losses/lost-disks.ts';
import type { nextStarts } from '../losses/next-starts.ts';
import { isToBeClosed } from '../vm/decider.ts';
import type { VmEvent } from '../vm/events.ts';
import type { KeyLoss } from '../vm/machine.ts';
import { guestEnded } from '../vm/progress.ts';
import { isOnOrStarting, type Machine, type Vm } from '../vm/state.ts';
import { keyStopWork, ownCause } from './causes.ts';
import type { NoteMismatches } from './content-mismatches.ts';
import { type Disks, Interrupted, orInterrupted, TimedOut } from './disks.ts';
import type { Engine } from './engine.ts';
import { endOrphans } from './orphans.ts';

/** Machines held in memory at once. */
const pageSize = 1_000;
/** Sets, and guests, asked about at once. */
const questionsMax = 8;

/** What a look at the machines leaves to be asked: one entry a set or key version, however many machines there are. */
interface Questions {
  /** Sets of disks of machines that run. */
  readonly sets: Set<string>;
  /** Outages that are shown as being in the way of some machine, by set and version. */
  readonly outages: Map<string, KeyLoss>;
}

/**
 * Looks at everything again, at the start and then on a timer: what was begun and not finished is resumed, guests that
 * are gone are noticed, guests whose machine is off are ended, and the disk service is asked which disks of running machines have no data any more, so that a
 * machine stops also when no event arrives (G2). It asks the disk service and its own store, nobody else. Nothing waits
 * for it in the ordinary course.
 */
export const sweeper = (parts: {
  readonly vms: Category<Vm, VmEvent>;
  readonly disks: Disks;
  readonly lost: LostDisks;
  readonly stops: Pick<KeyStops, 'explain'>;
  readonly returns: KeyReturns;
  readonly nextStarts: ReturnType<typeof nextStarts>;
  readonly driver: VmHost;
  readonly noteMismatches: NoteMismatches;
  readonly engine: Pick<Engine, 'kick' | 'hasRoom' | 'isOurs' | 'onServed'>;
  readonly closing: Pick<Closings, 'everywhere'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly intervalMs: number;
}) => {
  const { vms, disks, lost, stops, returns, driver, noteMismatches, engine, closing, clock, random, log, intervalMs } =
    parts;
  const turns = limiter(questionsMax);

  /** Stops a machine whose guest is gone: nobody can tell what became of its writes, so nobody starts it again but its user. */
  const endedInside = async (vm: string, { startedAt }: Machine): Promise<void> => {
    if (!engine.isOurs(vm) || (await driver.isRunning(vm))) return;
    const cause = ownCause(random);
    const work = { ...keyStopWork(cause, clock, random), kind: 'guestEnded' } as const;
    const end = await driver.endOf(vm);
    const { events } = await vms.transact(vm, guestEnded(work, startedAt, end), cause);
    if (events.length > 0) engine.kick([vm]);
  };

  /** Looks at the guest of one machine of many: what is wrong with it keeps the sweep from nothing else. */
  const lookIn = async (vm: string, machine: Machine): Promise<void> => {
    try {
      if (engine.isOurs(vm)) await noteMismatches(vm, machine, ownCause(random));
      if (machine.power.state === 'running') await endedInside(vm, machine);
    } catch (error) {
      if (error instanceof StoreUnavailable) throw error;
      log.warn('the guest of a machine could not be looked at', { vm, error });
    }
  };

  /** Resumes what stands still among these machines, and notes what has to be asked about the others. */
  const lookAt = async (machines: readonly Loaded<Vm>[], { sets, outages }: Questions): Promise<void> => {
    const unfinished: string[] = [];
    const guests: Promise<void>[] = [];
    for (const { id, state } of machines) {
      if (state.status === 'creating') unfinished.push(id);
      if (state.status !== 'active') continue;
      const isClosable = isToBeClosed(state);
      if (state.power.work !== undefined || (isClosable && engine.hasRoom())) unfinished.push(id);
      // What a whole fleet left behind is closed together.
      else if (isClosable) closing.everywhere();
      for (const loss of state.blocked) if (isOutage(loss.reason)) outages.set(`${loss.set} ${loss.keyVersion}`, loss);
      if (state.power.work?.kind === 'delete') continue;
      if (driver.hasGuests) guests.push(turns(() => lookIn(id, state)));
      if (!isOnOrStarting(state)) continue;
      for (const { set } of state.disks) if (set !== '') sets.add(set);
    }
    engine.kick(unfinished);
    await Promise.all(guests);
  };

  /** One set or outage that cannot be asked about in time holds up no other. */
  const inTurn = (question: (untilMs: number) => Promise<unknown>): Promise<void> =>
    turns(async () => {
      try {
        await question(clock.now() + intervalMs);
      } catch (error) {
        if (!(error instanceof TimedOut)) throw error;
        log.warn('the disk service did not say in time what is lost; asked again by the next sweep', { error });
      }
    });

  /** What an outage has become: the vault decided something, or answers again. */
  const followUp = async ({ disk, set, keyVersion }: KeyLoss, signal: AbortSignal, untilMs: number): Promise<void> => {
    try {
      const found = await disks.insist((client, options) => client.getDisk({ name: disk }, options), {
        signal,
        untilMs,
      });
      if (found.keyVersion !== keyVersion) return;
      const reason = reasonOf(found);
      if (reason !== undefined && isOutage(reason)) return;
      const since = found.unavailableSince?.getTime() ?? clock.now();
      if (reason === undefined) await returns.returned({ set, keyVersion, ends: 'outages' }, ownCause(random));
      else await stops.explain({ reason, set, keyVersion, since, traceId: '', accessEpoch: 0 }, ownCause(random));
    } catch (error) {
      if (!(error instanceof Rejection && error.code === 'NOT_FOUND')) throw error;
    }
  };

  /** Looks at every machine. @returns what has to be asked about them */
  const look = async (signal: AbortSignal): Promise<Questions> => {
    const questions: Questions = { sets: new Set(), outages: new Map() };
    let after: string | undefined;
    do {
      const page = await vms.list({ limit: pageSize, ...(after === undefined ? {} : { after }) });
      await lookAt(page.items, questions);
      await parts.nextStarts(page.items, ownCause(random));
      after = page.next;
    } while (after !== undefined && !signal.aborted);
    return questions;
  };

  const ask = async ({ sets, outages }: Questions, signal: AbortSignal): Promise<void> => {
    await Promise.all([
      ...[...sets].map((diskEncryptionSet) =>
        inTurn((untilMs) => lost.stopUnder({ diskEncryptionSet }, undefined, { signal, untilMs })),
      ),
      ...[...outages.values()].map((loss) => inTurn((untilMs) => followUp(loss, signal, untilMs))),
    ]);
  };

  return async (signal: AbortSignal): Promise<void> => {
    driver.onEnded((vm) => {
      void (async () => {
        try {
          const { state } = await vms.load(vm);
          if (state.status === 'active') await endedInside(vm, state);
        } catch (error) {
          log.warn('end of a guest is left to the sweep', { vm, error });
        }
      })();
    });
    let wake = new AbortController();
    // What the replica before left unfinished, and guests that ended meanwhile.
    engine.onServed(() => wake.abort());
    let asking: Promise<void> | undefined;
    while (!signal.aborted) {
      wake = new AbortController();
      try {
        if (driver.hasGuests) await endOrphans({ vms, driver, log, isOurs: (vm) => engine.isOurs(vm) });
        const questions = await look(signal);
        asking ??= ask(questions, signal).finally(() => {
          asking = undefined;
        });
        // What a replica left unfinished does not wait for a disk service that gives no answer.
        await orInterrupted(asking, wake.signal);
      } catch (error) {
        if (!signal.aborted && !(error instanceof Interrupted)) log.warn('sweep did not finish', { error });
      }
      await clock.sleep(intervalMs, signal, wake.signal);
    }
  };
};
