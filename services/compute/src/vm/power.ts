import type { Instant } from '@interlock/runtime';
import { closed, maybeReopened, toClose } from './disk-state.ts';
import type { PowerEvent } from './events.ts';
import type { KeyLoss, VmDisk, Work } from './machine.ts';
import {
  type AfterRestore,
  isInTransition,
  type Machine,
  type PowerState,
  type StopCause,
  stopCauseOf,
  type Vm,
} from './state.ts';

/** Restarts remembered, so that a repeated request is recognised: enough for any retry, few enough for a row. */
const restartsMax = 16;

/** Detached disks remembered, for the same purpose. */
const detachedMax = 16;

/** The cause of a machine that is off because its user asked for it, or that has never run. */
export const requested: StopCause = { kind: 'requested' };
const ownerDecides: AfterRestore = { kind: 'ownerDecides' };

/** The machine after an event about its power. */
export const evolvePower = (machine: Machine, event: PowerEvent): Vm => {
  switch (event.type) {
    case 'VmStarting': {
      const { work, from, at } = event;
      // A disk that a stop left half attached is freed during the start, not opened.
      const disks = machine.disks.map(
        (disk): VmDisk => (disk.phase === 'attached' ? { ...disk, access: 'opening' } : disk),
      );
      const cause = undecided(stopCauseOf(machine) ?? requested);
      return { ...machine, disks, power: { state: 'starting', since: at, work, from, cause } };
    }
    case 'VmPlaced': {
      const { host, number } = event;
      return { ...machine, placement: { host, number } };
    }
    case 'VmStarted': {
      const { at } = event;
      return { ...healthy(machine), power: { state: 'running', since: at }, startedAt: at, blocked: [] };
    }
    case 'VmStartFailed':
      return startFailed(machine, event);
    case 'VmStopping':
      return stopping(machine, event);
    case 'VmStopped': {
      const { at } = event;
      const ended = machine.power.work?.kind === 'powerOff' ? healthy(machine) : machine;
      const power: PowerState = { state: 'stopped', since: at, ...causeAndTrace(machine) };
      return { ...ended, disks: machine.disks.map(toClose), power, stoppedAt: at };
    }
    case 'VmKeptOff':
      return { ...machine, power: withCause(machine.power, keptOff) };
    case 'VmDeallocating': {
      const { work, at } = event;
      const cause = keptOff(stopCauseOf(machine) ?? requested);
      return { ...machine, power: { state: 'deallocating', since: at, work, cause } };
    }
    case 'VmDeallocated': {
      const { at } = event;
      return {
        ...healthy(machine),
        ...afterFreeing(machine),
        disks: attachedOnly(machine).map(closed),
        power: { state: 'deallocated', since: at, cause: stopCauseOf(machine) ?? requested },
        stoppedAt: offSince(machine) ?? at,
      };
    }
    case 'VmDeleting':
      return withWork(machine, event.work);
    case 'VmDeleted':
      return { status: 'deleted', deletedAt: event.at };
  }
};

const startFailed = (
  machine: Machine,
  { failure, blocked, at }: Extract<PowerEvent, { type: 'VmStartFailed' }>,
): Machine => {
  const { power, startedAt } = machine;
  const state = power.state === 'starting' ? power.from : 'stopped';
  // In a failed restart the guest is off since its shutdown.
  const stoppedAt = startedAt === undefined ? undefined : (offSince(machine) ?? power.since);
  return {
    ...machine,
    ...(stoppedAt === undefined ? {} : { stoppedAt }),
    disks: machine.disks.map((disk) => toClose(maybeReopened(disk))),
    power: { state, since: at, ...causeAndTrace(machine) },
    failure,
    blocked,
  };
};

/** Why a machine goes off now, and the trace to which closing its disks belongs. */
const causeAndTrace = (machine: Machine): { readonly cause: StopCause; readonly offTraceparent?: string } => {
  const traceparent = machine.power.work?.traceparent;
  const cause = stopCauseOf(machine) ?? requested;
  return { cause, ...(traceparent === undefined ? {} : { offTraceparent: traceparent }) };
};

const stopping = (machine: Machine, event: Extract<PowerEvent, { type: 'VmStopping' }>): Machine => {
  const { work, reason, blocked = [], preempted, at } = event;
  const isStarting = machine.power.state === 'starting';
  return {
    ...machine,
    disks: isStarting ? machine.disks.map(maybeReopened) : machine.disks,
    power: { state: 'stopping', since: at, work, cause: causeOf(event) },
    restarts:
      work.requestId === undefined ? machine.restarts : [...machine.restarts, work.requestId].slice(-restartsMax),
    ...(reason === undefined ? {} : { blocked: withStop(machine, [reason, ...blocked]) }),
    ...(preempted === undefined ? {} : { failure: preempted }),
  };
};

const causeOf = ({ reason, end, detail, startsAgain }: Extract<PowerEvent, { type: 'VmStopping' }>): StopCause => {
  if (reason !== undefined) return { kind: 'keyLoss', loss: reason, afterRestore: ownerDecides };
  if (end === undefined) return requested;
  return {
    kind: 'guestEnded',
    end,
    ...(detail === undefined ? {} : { detail }),
    ...(startsAgain === undefined ? {} : { startsWhenOff: startsAgain }),
  };
};

/** The power with another cause of being off; a running machine has none. */
export const withCause = (power: PowerState, change: (cause: StopCause) => StopCause): PowerState =>
  power.state === 'running' ? power : { ...power, cause: change(power.cause) };

/** The cause without a decision about a start: the start takes its place. */
const undecided = (cause: StopCause): StopCause => {
  if (cause.kind === 'keyLoss') return { ...cause, afterRestore: ownerDecides };
  if (cause.kind !== 'guestEnded') return cause;
  const { startsWhenOff: _work, ...ended } = cause;
  return ended;
};

/** The cause once its user asks for the machine to be off, whatever had stopped it before. */
const keptOff = (cause: StopCause): StopCause =>
  cause.kind === 'keyLoss' ? { ...cause, afterRestore: { kind: 'staysOff' } } : requested;

/** When a machine that has not been started since was stopped; undefined for one that was running. */
const offSince = ({ stoppedAt, startedAt }: Machine): Instant | undefined =>
  stoppedAt !== undefined && stoppedAt >= (startedAt ?? 0) ? stoppedAt : undefined;

/** The machine without the failure of an earlier operation: the last one succeeded. */
export const healthy = (machine: Machine): Machine => {
  // A copy without a field costs as much as ten with all of them.
  if (machine.failure === undefined) return machine;
  const { failure: _failure, ...others } = machine;
  return others;
};

/** The machine with this work on its disks, or its deletion, under way. No such work replaces that of a transition. */
export const withWork = (machine: Machine, work: Work): Machine =>
  isInTransition(machine.power) ? machine : { ...machine, power: { ...machine.power, work } };

/** The disks without those that a stop left half attached or half detached: closing the disks frees these. */
export const attachedOnly = ({ disks }: Machine): readonly VmDisk[] =>
  disks.filter(({ phase }) => phase === 'attached');

/** What a machine remembers once these disks are detached. */
export const afterDetaching = ({ detached = [] }: Machine, ...disks: readonly string[]): Pick<Machine, 'detached'> => ({
  detached: [...detached.filter((one) => !disks.includes(one)), ...disks].slice(-detachedMax),
});

/**
 * What a machine remembers once half-attached and half-detached disks are freed. Closing also detaches a disk whose detach a
 * stop interrupted. None of these disks blocks a start any more.
 */
export const afterFreeing = (machine: Machine): Partial<Pick<Machine, 'detached' | 'blocked'>> => {
  const freed = machine.disks.filter(({ phase }) => phase !== 'attached');
  if (freed.length === 0) return {};
  const detached = freed.filter(({ phase }) => phase === 'detaching').map(({ disk }) => disk);
  return {
    ...(detached.length === 0 ? {} : afterDetaching(machine, ...detached)),
    blocked: machine.blocked.filter((loss) => !freed.some(({ disk }) => disk === loss.disk)),
  };
};

/** What blocks a start: the new losses, and the known losses of other disks. */
export const withNews = (known: readonly KeyLoss[], news: readonly KeyLoss[]): readonly KeyLoss[] =>
  known.length === 0 ? news : [...news, ...known.filter(({ disk }) => !news.some((one) => one.disk === disk))];

/** What blocks a start once a loss stops the machine. While it is starting, the earlier entries are those of its last stop. */
const withStop = ({ power, blocked }: Machine, news: readonly KeyLoss[]): readonly KeyLoss[] =>
  power.state === 'running' ? withNews(blocked, news) : news;
