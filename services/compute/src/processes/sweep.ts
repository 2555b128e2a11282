import { isOutage } from '@interlock/access';
import type { Disk } from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import { type Category, type Loaded, StoreUnavailable } from '@interlock/event-store';
import type { Clock, Logger, Random } from '@interlock/runtime';
import { type Disks, Interrupted, orInterrupted, type Patience, TimedOut } from '../disk-service/disks.ts';
import { type GuestSurvey, type Guests, machineAt } from '../guests/guests.ts';
import { limiter } from '../limiter.ts';
import type { KeyReturns } from '../losses/key-returns.ts';
import type { KeyStops } from '../losses/key-stops.ts';
import { type LostDisks, reasonOf } from '../losses/lost-disks.ts';
import type { nextStarts } from '../losses/next-starts.ts';
import { keyStopWork, ownCause } from '../vm/causes.ts';
import { isToBeClosed } from '../vm/decider.ts';
import type { VmEvent } from '../vm/events.ts';
import type { KeyLoss } from '../vm/machine.ts';
import { guestEnded } from '../vm/progress.ts';
import { isOnOrStarting, type Machine, type Vm } from '../vm/state.ts';
import { lookUp } from './closing.ts';
import type { NoteMismatches } from './content-mismatches.ts';
import type { Engine } from './engine.ts';
import type { FleetClosing } from './fleet-closing.ts';
import { detachLeft, endOrphans } from './orphans.ts';

/** Machines held in memory at once. */
const pageSize = 1_000;
/** Calls about sets, and about guests, at once. */
const callsMax = 8;

/** What the disk service is asked after a look at the machines: one entry per set or key version, however many machines there are. */
interface Questions {
  /** Sets of disks of machines that run. */
  readonly sets: Set<string>;
  /** Outages that block some machine, by set, version and disk host, each with the disks that have it. */
  readonly outages: Map<string, Outage>;
}

interface Outage extends Pick<KeyLoss, 'set' | 'keyVersion' | 'host'> {
  readonly disks: Set<string>;
}

/** Most disks that are looked up for one outage in one sweep: mostly the first one decides. */
const lookUpsMax = 16;

/** What the sweep works with. */
interface SweepParts {
  readonly vms: Category<Vm, VmEvent>;
  readonly disks: Disks;
  readonly lost: LostDisks;
  readonly stops: Pick<KeyStops, 'explain'>;
  readonly returns: KeyReturns;
  readonly nextStarts: ReturnType<typeof nextStarts>;
  readonly guests: Guests;
  readonly noteMismatches: NoteMismatches;
  readonly engine: Pick<Engine, 'kick' | 'hasRoom' | 'isOurs' | 'onServed'>;
  readonly closing: Pick<FleetClosing, 'everywhere'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly log: Logger;
  readonly intervalMs: number;
}

/**
 * Looks at everything at the start and then on a timer. It resumes unfinished work, notices guests that are gone, ends guests
 * whose machine is off, and asks the disk service which disks of running machines have no data any more, so that a machine
 * stops also if no event arrives (G2). It calls the disk service and its own store only. No other work waits for it.
 */
export class Sweep {
  readonly #parts: SweepParts;
  readonly #slots = limiter(callsMax);

  constructor(parts: SweepParts) {
    this.#parts = parts;
  }

  /** Sweeps until `signal` is aborted. */
  async run(signal: AbortSignal): Promise<void> {
    const { guests, engine, clock, log, intervalMs } = this.#parts;
    guests.onEnded((vm) => void this.#guestGone(vm));
    let wake = new AbortController();
    // The owner before this replica left unfinished work, and guests may have ended since.
    engine.onServed(() => wake.abort());
    let asking: Promise<void> | undefined;
    while (!signal.aborted) {
      wake = new AbortController();
      try {
        const questions = await this.#look(await this.#survey(), signal);
        asking ??= this.#ask(questions, signal).finally(() => {
          asking = undefined;
        });
        // Unfinished work of another replica does not wait for an unreachable disk service.
        await orInterrupted(asking, wake.signal);
      } catch (error) {
        if (!signal.aborted && !(error instanceof Interrupted)) log.warn('sweep did not finish', { error });
      }
      await clock.sleep(intervalMs, signal, wake.signal);
    }
  }

  /** Finds the guests, and ends those that are not of a record; undefined where there are none, or they could not be found. */
  async #survey(): Promise<GuestSurvey | undefined> {
    const { vms, guests, engine, log } = this.#parts;
    if (!guests.hasGuests) return undefined;
    try {
      const survey = await guests.survey();
      await endOrphans({ vms, found: survey.found, log, isOurs: (vm) => engine.isOurs(vm) });
      return survey;
    } catch (error) {
      if (error instanceof StoreUnavailable) throw error;
      log.warn('the guests could not be found', { error });
      return undefined;
    }
  }

  async #guestGone(vm: string): Promise<void> {
    try {
      const { state } = await this.#parts.vms.load(vm);
      if (state.status === 'active') await this.#stopWithoutGuest(vm, state);
    } catch (error) {
      this.#parts.log.warn('end of a guest is left to the sweep', { vm, error });
    }
  }

  /** Looks at every machine. @returns what to ask the disk service about them */
  async #look(survey: GuestSurvey | undefined, signal: AbortSignal): Promise<Questions> {
    const { vms, random } = this.#parts;
    const questions: Questions = { sets: new Set(), outages: new Map() };
    let after: string | undefined;
    do {
      const page = await vms.list({ limit: pageSize, ...(after === undefined ? {} : { after }) });
      await this.#lookAt(page.items, questions, survey);
      await this.#parts.nextStarts(page.items, ownCause(random));
      after = page.next;
    } while (after !== undefined && !signal.aborted);
    return questions;
  }

  /** Resumes unfinished work on these machines, looks at their guests, and collects questions. */
  async #lookAt(
    machines: readonly Loaded<Vm>[],
    { sets, outages }: Questions,
    survey: GuestSurvey | undefined,
  ): Promise<void> {
    const { engine, closing } = this.#parts;
    const unfinished: string[] = [];
    const guests: Promise<void>[] = [];
    for (const { id, state, version } of machines) {
      if (state.status === 'creating') unfinished.push(id);
      if (state.status !== 'active') continue;
      const isClosable = isToBeClosed(state);
      if (state.power.work !== undefined || (isClosable && engine.hasRoom())) unfinished.push(id);
      // The disks of a whole fleet are closed together.
      else if (isClosable) closing.everywhere();
      for (const loss of state.blocked) {
        if (isOutage(loss.reason)) noteOutage(outages, loss);
      }
      if (state.power.work?.kind === 'delete') continue;
      if (survey !== undefined) guests.push(this.#slots(() => this.#lookAtGuest(id, state, version, survey)));
      if (!isOnOrStarting(state)) continue;
      for (const { set } of state.disks) if (set !== '') sets.add(set);
    }
    engine.kick(unfinished);
    await Promise.all(guests);
  }

  /** Looks at the guest of one machine. A failure does not keep the sweep from the others. */
  async #lookAtGuest(vm: string, machine: Machine, version: number, survey: GuestSurvey): Promise<void> {
    const { guests, engine, noteMismatches, random, log } = this.#parts;
    try {
      if (!engine.isOurs(vm)) return;
      const at = machineAt(vm, machine);
      await noteMismatches(vm, machine, await survey.ioOf(at), ownCause(random));
      if (machine.power.state !== 'running') return;
      await detachLeft(guests, at, survey.disksOf(at), { disks: machine.disks, version });
      if ((await survey.look(at)) === 'gone') await this.#stopWithoutGuest(vm, machine);
    } catch (error) {
      if (error instanceof StoreUnavailable) throw error;
      log.warn('the guest of a machine could not be looked at', { vm, error });
    }
  }

  /** Stops a machine whose guest is gone. What became of its last writes is unknown, so only its user starts it again. */
  async #stopWithoutGuest(vm: string, machine: Machine): Promise<void> {
    const { vms, guests, engine, clock, random } = this.#parts;
    const at = machineAt(vm, machine);
    if (!engine.isOurs(vm) || (await guests.look(at)) !== 'gone') return;
    const cause = ownCause(random);
    const work = { ...keyStopWork(cause, clock, random), kind: 'guestEnded' } as const;
    const ending = await guests.endOf(at);
    const { events } = await vms.transact(vm, guestEnded(work, machine.startedAt, ending), cause, { step: 'work' });
    if (events.length > 0) engine.kick([vm]);
  }

  async #ask({ sets, outages }: Questions, signal: AbortSignal): Promise<void> {
    const { lost } = this.#parts;
    await Promise.all([
      ...[...sets].map((diskEncryptionSet) =>
        this.#question((untilMs) => lost.stopUnder({ diskEncryptionSet }, undefined, { signal, untilMs })),
      ),
      ...[...outages.values()].map((loss) => this.#question((untilMs) => this.#followUp(loss, { signal, untilMs }))),
    ]);
  }

  /** A question without a response within the interval does not delay the others. */
  #question(question: (untilMs: number) => Promise<unknown>): Promise<void> {
    const { clock, log, intervalMs } = this.#parts;
    return this.#slots(async () => {
      try {
        await question(clock.now() + intervalMs);
      } catch (error) {
        if (!(error instanceof TimedOut)) throw error;
        log.warn('the disk service did not report in time which disks are lost; the next sweep asks again', { error });
      }
    });
  }

  /** Looks whether the vault has decided something since the outage of a disk host, or responds to it again. */
  async #followUp({ disks: blocked, ...outage }: Outage, patience: Patience): Promise<void> {
    const { disks } = this.#parts;
    let movedCount = 0;
    for (const disk of [...blocked].slice(0, lookUpsMax)) {
      const found = await disks.insist((client, options) => lookUp(client, disk, options), patience);
      if (found === undefined || found.keyVersion !== outage.keyVersion) continue;
      // What another host can do with a disk that has moved there says nothing of this one (G3).
      if (outage.host === undefined || [outage.host, ''].includes(found.diskHost)) return this.#conclude(outage, found);
      movedCount += 1;
    }
    if (movedCount > 0 && movedCount === blocked.size) await this.#end(outage, outage.host);
  }

  /** @param found a disk at the host of the outage; a refused start does not name the host, but its disk does */
  async #conclude(outage: Omit<Outage, 'disks'>, found: Disk): Promise<void> {
    const { stops, clock, random } = this.#parts;
    const { set, keyVersion, host } = outage;
    const reason = reasonOf(found);
    if (reason !== undefined && isOutage(reason)) return;
    // The vault responds to this host, and maybe to no other (G3).
    if (reason === undefined) return this.#end(outage, host ?? found.diskHost);
    const since = found.unavailableSince?.getTime() ?? clock.now();
    await stops.explain({ reason, set, keyVersion, since, traceId: '', accessEpoch: 0 }, ownCause(random));
  }

  async #end({ set, keyVersion }: Omit<Outage, 'disks'>, host = ''): Promise<void> {
    const { returns, random } = this.#parts;
    const ofHost = host === '' ? {} : { host };
    await returns.returned({ set, keyVersion, ends: 'outages', ...ofHost }, ownCause(random));
  }
}

const noteOutage = (outages: Questions['outages'], { set, keyVersion, host, disk }: KeyLoss): void => {
  const key = `${set} ${keyVersion} ${host ?? ''}`;
  const known = outages.get(key) ?? {
    set,
    keyVersion,
    disks: new Set<string>(),
    ...(host === undefined ? {} : { host }),
  };
  known.disks.add(disk);
  outages.set(key, known);
};
