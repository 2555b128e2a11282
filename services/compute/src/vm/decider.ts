import type { CategoryDefinition, IndexEntry } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import type { GuestEnd } from '../guests/driver.ts';
import { closed, maybeReopened, newDisk, toClose, underKey, withOpened } from './disk-state.ts';
import type { OpenedDisk, VmEvent } from './events.ts';
import { isOutage } from './loss-words.ts';
import type { ContentMismatch, Failure, KeyLoss, PlannedDisk, VmDisk, Wish, Work, Workload } from './machine.ts';

/** What a machine does (VM-02, VM-03). Independent of what its last operation did (VM-01). */
export type Power = 'starting' | 'running' | 'stopping' | 'stopped' | 'deallocating' | 'deallocated';

/**
 * A machine.
 *
 *   absent ──create──▶ creating ──▶ active ──delete──▶ deleted       abandoned and deleted are as good as absent:
 *                          └──────▶ abandoned                        a new machine may have the name
 *
 * Power of an active one:
 *
 *            ┌────────────── start ◀───────────────┐
 *            ▼                                     │
 *   ──▶ starting ──▶ running ──▶ stopping ──▶ stopped ──┐
 *          │ │          │            │  restart          │ deallocate
 *          │ │          │            └──▶ starting       ▼
 *          │ │          └──────────────────────▶ deallocating ──▶ deallocated ── start ──▶ starting
 *          │ └─ fails ──▶ stopped or deallocated, as before
 *          └─ key lost ──▶ stopping
 *
 * At most one piece of work is under way (VM-20); a stop because of a key takes the place of any other.
 */
export type Vm =
  | { readonly status: 'absent' }
  | {
      readonly status: 'creating';
      readonly wish: Wish;
      readonly disks: readonly PlannedDisk[];
      readonly work: Work;
      readonly createdAt: Instant;
    }
  | { readonly status: 'abandoned'; readonly failure: Failure }
  | Machine
  | { readonly status: 'deleted'; readonly deletedAt: Instant };

/** A machine that exists. */
export interface Machine {
  readonly status: 'active';
  /** UUID, of this machine alone: another machine may have its name once it is deleted. */
  readonly uniqueId: string;
  /** As it was asked for; what it is now is in the other fields. */
  readonly wish: Wish;
  readonly location: string;
  readonly ultraSsdEnabled: boolean;
  readonly workload: Workload;
  /** The OS disk first, if there is one. */
  readonly disks: readonly VmDisk[];
  readonly power: Power;
  readonly powerSince: Instant;
  /** What a failing start falls back to. */
  readonly startsFrom: 'stopped' | 'deallocated';
  readonly work?: Work;
  /** The lost key that stopped it last; gone with the next start. */
  readonly stopReason?: KeyLoss;
  /** How its guest came to an end that nobody asked for; gone with the next start. */
  readonly guestEnd?: GuestEnd;
  /** Its user asked for it to be off since a lost key, or the end of its guest, stopped it. */
  readonly isKeptOff?: boolean;
  /** Starts again, by this work, once it is off: its key returned while it was stopping. */
  readonly startsAgain?: Work;
  /** Starts again once the last of its lost keys returns. */
  readonly owesStart?: boolean;
  /** Keys in the way of a start as far as known, at most one a disk. */
  readonly blocked: readonly KeyLoss[];
  readonly failure?: Failure;
  /** Requests of the latest restarts, newest last. */
  readonly restarts: readonly string[];
  /** Disks detached last and not attached again, newest last: to detach one of them is a repeat. */
  readonly detached?: readonly string[];
  readonly createdAt: Instant;
  readonly startedAt?: Instant;
  readonly stoppedAt?: Instant;
  /** How many reads returned other bytes than it has written, and the newest of them; absent while there was none. */
  readonly mismatches?: { readonly count: number; readonly newest: ContentMismatch };
}

/** Restarts remembered, so that a repeated request is recognised: enough for any retry, few enough for a row. */
const restartsMax = 16;

/** Detached disks remembered, for the same. */
const detachedMax = 16;

export const initial: Vm = { status: 'absent' };

export const evolve = (vm: Vm, event: VmEvent): Vm => {
  if (event.type === 'VmCreationBegun') {
    const { wish, disks, work, at } = event;
    return { status: 'creating', wish, disks, work, createdAt: at };
  }
  if (vm.status === 'creating') {
    if (event.type === 'VmCreationUndoing') return { ...vm, work: { ...vm.work, undo: event.failure } };
    if (event.type === 'VmCreationFailed') return { status: 'abandoned', failure: event.failure };
    if (event.type === 'VmCreated') return born(vm, event.opened, event.at);
    if (event.type === 'DiskKeyChanged') return { ...vm, disks: vm.disks.map((disk) => underKey(disk, event)) };
    return vm;
  }
  return vm.status === 'active' ? evolveMachine(vm, event) : vm;
};

const born = (
  { wish, disks, work, createdAt }: Extract<Vm, { status: 'creating' }>,
  opened: readonly OpenedDisk[],
  at: Instant,
): Machine => ({
  status: 'active',
  // One creation, one machine.
  uniqueId: work.id,
  wish,
  location: wish.location,
  ultraSsdEnabled: wish.ultraSsdEnabled,
  workload: wish.workload,
  disks: withOpened(
    disks.map((disk) => ({ ...newDisk(disk), phase: 'attached' })),
    opened,
  ),
  power: 'starting',
  powerSince: at,
  startsFrom: 'stopped',
  work,
  blocked: [],
  restarts: [],
  createdAt,
});

/** The disk once it is attached: which request it was for matters no more. */
const attachedAsAsked = ({ attachRequest: _asked, ...disk }: VmDisk): VmDisk => ({ ...disk, phase: 'attached' });

/** The machine with its work done. */
const idle = ({ work: _work, ...machine }: Machine): Machine => machine;
/** The machine without the failure of an earlier operation: the last one succeeded. */
const healthy = ({ failure: _failure, ...machine }: Machine): Machine => machine;
/** When a machine that has not been started since was stopped; undefined for one that was running. */
const offSince = ({ stoppedAt, startedAt }: Machine): Instant | undefined =>
  stoppedAt !== undefined && stoppedAt >= (startedAt ?? 0) ? stoppedAt : undefined;

// A copy without a field costs as much as ten with all of them: of a machine that has none of these, none is made.
const unreasoned = (machine: Machine): Machine => {
  if (machine.stopReason === undefined && machine.guestEnd === undefined) return machine;
  const { stopReason: _reason, guestEnd: _end, ...others } = machine;
  return others;
};
/** The machine without what was to become of an earlier stop: a start or another stop took its place. */
const undecided = (machine: Machine): Machine => {
  const { isKeptOff, startsAgain, owesStart } = machine;
  if (isKeptOff === undefined && startsAgain === undefined && owesStart === undefined) return machine;
  const { isKeptOff: _off, startsAgain: _again, owesStart: _owed, ...others } = machine;
  return others;
};

/** The machine once its user asks for it to be off, whatever had stopped it before. */
const keptOff = (machine: Machine): Machine => {
  const isOffByItself = machine.stopReason !== undefined || machine.guestEnd !== undefined;
  return isOffByItself ? { ...undecided(machine), isKeptOff: true } : undecided(machine);
};

/** What a machine remembers once these disks are detached. */
const afterDetaching = ({ detached = [] }: Machine, ...disks: readonly string[]): Pick<Machine, 'detached'> => ({
  detached: [...detached.filter((one) => !disks.includes(one)), ...disks].slice(-detachedMax),
});
const nothingNew: Pick<Machine, 'detached'> = {};
/**
 * The same of disks whose detaching a stop put an end to: closing them detaches them as well. Neither these nor what was half attached
 * is in the way of a start any more.
 */
const afterFreeing = (machine: Machine): Partial<Pick<Machine, 'detached' | 'blocked'>> => {
  const freed = machine.disks.filter(({ phase }) => phase !== 'attached');
  if (freed.length === 0) return nothingNew;
  const detached = freed.filter(({ phase }) => phase === 'detaching').map(({ disk }) => disk);
  return {
    ...(detached.length === 0 ? nothingNew : afterDetaching(machine, ...detached)),
    blocked: machine.blocked.filter((loss) => !freed.some(({ disk }) => disk === loss.disk)),
  };
};
/** The same once a disk is asked for again. */
const afterAttaching = ({ detached }: Machine, disk: string): Pick<Machine, 'detached'> =>
  detached?.includes(disk) === true ? { detached: detached.filter((one) => one !== disk) } : nothingNew;

/** What is to become of a machine whose lost key returned or was replaced. */
const restartOf = ({
  startsAgain,
  owesStart,
}: Pick<Extract<VmEvent, { type: 'KeyAccessReturned' }>, 'startsAgain' | 'owesStart'>): Partial<Machine> => ({
  ...(startsAgain === undefined ? {} : { startsAgain }),
  ...(owesStart === undefined ? {} : { owesStart }),
});

/** The disks with what was opened of them. Of a machine that is off that came too late, and is to be closed. */
const openedOf = ({ disks, power }: Machine, opened: readonly OpenedDisk[]): readonly VmDisk[] => {
  const now = withOpened(disks, opened);
  const isOff = power === 'stopped' || power === 'deallocated';
  return isOff ? now.map((disk, n) => (disk === disks[n] ? disk : toClose(disk))) : now;
};

/** What is in the way of a start: the news, and what was known about other disks. */
const withNews = (known: readonly KeyLoss[], news: readonly KeyLoss[]): readonly KeyLoss[] =>
  known.length === 0 ? news : [...news, ...known.filter(({ disk }) => !news.some((one) => one.disk === disk))];

/** The same once a lost key stops it. Of one that is starting the earlier entries are those of its last stop. */
const withStop = ({ power, blocked }: Machine, news: readonly KeyLoss[]): readonly KeyLoss[] =>
  power === 'running' ? withNews(blocked, news) : news;

const evolveMachine = (machine: Machine, event: VmEvent): Vm => {
  const everyDisk = (change: (disk: VmDisk) => VmDisk): readonly VmDisk[] => machine.disks.map((disk) => change(disk));
  /** Without what a stop left half attached or half detached: that is freed when the disks are closed. */
  const attachedOnly = (): readonly VmDisk[] => machine.disks.filter(({ phase }) => phase === 'attached');
  switch (event.type) {
    case 'VmStarting': {
      const { work, from, at } = event;
      // What a stop left half attached is freed beside the start, not opened.
      const disks = everyDisk((disk) => (disk.phase === 'attached' ? { ...disk, access: 'opening' } : disk));
      return { ...undecided(machine), disks, power: 'starting', powerSince: at, startsFrom: from, work };
    }
    case 'DisksOpened':
      return { ...machine, disks: openedOf(machine, event.opened) };
    case 'VmStarted':
      return {
        ...healthy(idle(unreasoned(machine))),
        power: 'running',
        powerSince: event.at,
        startedAt: event.at,
        blocked: [],
      };
    case 'VmStartFailed': {
      const { failure, blocked, at } = event;
      const disks = everyDisk((disk) => toClose(maybeReopened(disk)));
      // Of a restart that comes to nothing the guest is off since its shutdown.
      const stoppedAt = machine.startedAt === undefined ? undefined : (offSince(machine) ?? machine.powerSince);
      return {
        ...idle(machine),
        ...(stoppedAt === undefined ? {} : { stoppedAt }),
        disks,
        power: machine.startsFrom,
        powerSince: at,
        failure,
        blocked,
      };
    }
    case 'VmStopping': {
      const { work, reason, end, blocked, preempted, at } = event;
      const restarts =
        work.requestId === undefined ? machine.restarts : [...machine.restarts, work.requestId].slice(-restartsMax);
      const disks = machine.power === 'starting' ? everyDisk(maybeReopened) : machine.disks;
      return {
        ...undecided(unreasoned(machine)),
        disks,
        power: 'stopping',
        powerSince: at,
        work,
        restarts,
        ...(reason === undefined
          ? {}
          : { stopReason: reason, blocked: withStop(machine, [reason, ...(blocked ?? [])]) }),
        ...(end === undefined ? {} : { guestEnd: end }),
        ...(preempted === undefined ? {} : { failure: preempted }),
      };
    }
    case 'VmStopped': {
      const ended = machine.work?.kind === 'powerOff' ? healthy(machine) : machine;
      return {
        ...idle(ended),
        disks: everyDisk(toClose),
        power: 'stopped',
        powerSince: event.at,
        stoppedAt: event.at,
      };
    }
    case 'VmKeptOff':
      return keptOff(machine);
    case 'VmDeallocating':
      return { ...keptOff(machine), power: 'deallocating', powerSince: event.at, work: event.work };
    case 'VmDeallocated':
      return {
        ...healthy(idle(machine)),
        ...afterFreeing(machine),
        disks: attachedOnly().map(closed),
        power: 'deallocated',
        powerSince: event.at,
        stoppedAt: offSince(machine) ?? event.at,
      };
    case 'DisksClosed':
      return {
        ...machine,
        ...afterFreeing(machine),
        disks: attachedOnly().map((disk) => (disk.access === 'closing' ? closed(disk) : disk)),
      };
    case 'VmDeleting':
      return { ...machine, work: event.work };
    case 'VmDeleted':
      return { status: 'deleted', deletedAt: event.at };
    case 'DiskAttaching': {
      const access = machine.power === 'running' ? 'opening' : 'closed';
      return {
        ...machine,
        ...afterAttaching(machine, event.disk.disk),
        disks: [...machine.disks, { ...newDisk(event.disk), access, attachRequest: event.work.id }],
        work: event.work,
      };
    }
    case 'DiskAttachedToVm':
      return {
        ...healthy(idle(machine)),
        disks: everyDisk((disk) => (disk.disk === event.disk ? attachedAsAsked(disk) : disk)),
      };
    case 'DiskAttachUndoing':
      return machine.work === undefined ? machine : { ...machine, work: { ...machine.work, undo: event.failure } };
    case 'DiskAttachFailed':
      return {
        ...idle(machine),
        disks: machine.disks.filter(({ disk }) => disk !== event.disk),
        failure: event.failure,
      };
    case 'DiskDetaching':
      return {
        ...machine,
        disks: everyDisk((disk) => (disk.disk === event.disk ? { ...disk, phase: 'detaching' } : disk)),
        work: event.work,
      };
    case 'DiskDetachedFromVm':
      return {
        ...healthy(idle(machine)),
        ...afterDetaching(machine, event.disk),
        disks: machine.disks.filter(({ disk }) => disk !== event.disk),
        blocked: machine.blocked.filter(({ disk }) => disk !== event.disk),
      };
    case 'DiskKeyChanged': {
      return {
        ...machine,
        disks: everyDisk((disk) => underKey(disk, event)),
        blocked: machine.blocked.filter(({ disk }) => disk !== event.disk),
        ...restartOf(event),
      };
    }
    case 'KeyAccessReturned': {
      return {
        ...machine,
        blocked: machine.blocked.filter((loss) => loss.set !== event.set || loss.keyVersion !== event.keyVersion),
        ...restartOf(event),
      };
    }
    case 'OutageExplained': {
      const isExplained = ({ disk }: KeyLoss): boolean => event.disks.includes(disk);
      const { stopReason } = machine;
      const isStopped = stopReason !== undefined && isOutage(stopReason.reason) && isExplained(stopReason);
      return {
        ...machine,
        blocked: machine.blocked.map((one) => (isExplained(one) ? { ...event.loss, disk: one.disk } : one)),
        ...(isStopped ? { stopReason: { ...event.loss, disk: stopReason.disk } } : {}),
      };
    }
    case 'ContentMismatchFound':
      return { ...machine, mismatches: { count: event.count, newest: event.newest } };
    case 'NextStartBlocked':
      return { ...machine, blocked: withNews(machine.blocked, event.blocked) };
    case 'VmCreationBegun':
    case 'VmCreationUndoing':
    case 'VmCreationFailed':
    case 'VmCreated':
      return machine;
  }
};

/** Whether the key of a disk being lost stops a machine: there is a customer key, and the class is not ultra (CMK-102). */
export const isStoppedByLoss = ({ set, sku }: Pick<VmDisk, 'set' | 'sku'>): boolean => set !== '' && sku !== 'ULTRA';

/** Whether a disk keeps its data through the loss of its key, for as long as its machine runs. */
export const isPinned = ({ set, sku }: Pick<VmDisk, 'set' | 'sku'>): boolean => set !== '' && sku === 'ULTRA';

/** Whether all that is left to be done with a machine is to close disks. */
export const isToBeClosed = (vm: Vm): boolean =>
  vm.status === 'active' && vm.work === undefined && vm.disks.some(({ access }) => access === 'closing');

/**
 * How machines are stored and found: `set` by the sets of their disks, `disk` by their disks, `work` while something is
 * under way. Nothing that a stop because of a key changes is indexed: it happens to a whole fleet at once, and moving
 * that many entries would cost more than the rest of it.
 */
export const virtualMachines: CategoryDefinition<Vm, VmEvent> = {
  name: 'vm',
  stateVersion: 2,
  initial,
  evolve,
  indexes: (vm) => {
    if (vm.status !== 'creating' && vm.status !== 'active') return [];
    // Asked twice for every commit of a fleet, and one has few disks: nothing is made but the entries.
    const entries: IndexEntry[] = vm.work === undefined ? [] : [{ index: 'work', value: 'pending' }];
    for (const { disk, set } of vm.disks) {
      if (set !== '') addTo(entries, 'set', set);
      addTo(entries, 'disk', disk);
    }
    return entries;
  },
  isGone: ({ status }) => status !== 'creating' && status !== 'active',
};

const addTo = (entries: IndexEntry[], index: string, value: string): void => {
  if (!entries.some((one) => one.value === value && one.index === index)) entries.push({ index, value });
};
