import { isOutage } from '@interlock/access';
import { type CategoryDefinition, type IndexEntry, withSteps } from '@interlock/event-store';
import type { Instant } from '@interlock/runtime';
import { closed, newDisk, toClose, underKey, withOpened } from './disk-state.ts';
import type { AccessEvent, DisksEvent, OpenedDisk, VmEvent } from './events.ts';
import { isLossOf } from './loss-of-key.ts';
import type { KeyLoss, VmDisk } from './machine.ts';
import {
  afterDetaching,
  afterFreeing,
  attachedOnly,
  evolvePower,
  healthy,
  requested,
  withCause,
  withNews,
  withWork,
} from './power.ts';
import {
  type AfterRestore,
  type Creating,
  currentWork,
  isInTransition,
  isOff,
  type Machine,
  type PowerState,
  type Vm,
} from './state.ts';

export const initial: Vm = { status: 'absent' };

export const evolve = (vm: Vm, event: VmEvent): Vm => {
  if (event.type === 'VmCreationStarted') {
    const { spec, disks, work, at } = event;
    return { status: 'creating', spec, disks, work, createdAt: at };
  }
  if (vm.status === 'creating') return evolveCreating(vm, event);
  if (vm.status !== 'active') return vm;
  return evolveMachine(vm, event);
};

const evolveCreating = (vm: Creating, event: VmEvent): Vm => {
  if (event.type === 'VmCreationUndoing') return { ...vm, work: { ...vm.work, undo: event.failure } };
  if (event.type === 'VmCreationFailed') return { status: 'abandoned', failure: event.failure };
  if (event.type === 'VmCreated') return createdMachine(vm, event.opened, event.at);
  if (event.type === 'DiskKeyChanged') return { ...vm, disks: vm.disks.map((disk) => underKey(disk, event)) };
  return vm;
};

const evolveMachine = (machine: Machine, event: VmEvent): Vm => {
  switch (event.type) {
    case 'VmCreationStarted':
    case 'VmCreationUndoing':
    case 'VmCreationFailed':
    case 'VmCreated':
      return machine;
    case 'VmStarting':
    case 'VmPlaced':
    case 'VmStarted':
    case 'VmStartFailed':
    case 'VmStopping':
    case 'VmStopped':
    case 'VmKeptOff':
    case 'VmDeallocating':
    case 'VmDeallocated':
    case 'VmDeleting':
    case 'VmDeleted':
      return evolvePower(machine, event);
    case 'DisksOpened':
    case 'DisksClosed':
    case 'DiskAttaching':
    case 'DiskAttachedToVm':
    case 'DiskAttachUndoing':
    case 'DiskAttachFailed':
    case 'DiskDetaching':
    case 'DiskDetachedFromVm':
      return evolveDisks(machine, event);
    case 'DiskKeyChanged':
    case 'KeyAccessReturned':
    case 'OutageExplained':
    case 'NextStartBlocked':
    case 'ContentMismatchFound':
      return evolveAccess(machine, event);
  }
};

const createdMachine = (
  { spec, disks, work, createdAt }: Creating,
  opened: readonly OpenedDisk[],
  at: Instant,
): Machine => ({
  status: 'active',
  // One creation, one machine.
  uniqueId: work.id,
  spec,
  disks: withOpened(
    disks.map((disk) => ({ ...newDisk(disk), phase: 'attached' })),
    opened,
  ),
  power: { state: 'starting', since: at, work, from: 'stopped', cause: requested },
  blocked: [],
  restarts: [],
  createdAt,
});

/** The machine after an event about its disks. */
const evolveDisks = (machine: Machine, event: DisksEvent): Machine => {
  switch (event.type) {
    case 'DisksOpened':
      return { ...machine, disks: openedDisks(machine, event.opened) };
    case 'DisksClosed': {
      const disks = attachedOnly(machine).map((disk) => (disk.access === 'closing' ? closed(disk) : disk));
      return { ...machine, ...afterFreeing(machine), disks };
    }
    case 'DiskAttaching': {
      const { disk, work } = event;
      const access = machine.power.state === 'running' ? 'opening' : 'closed';
      const disks = [...machine.disks, { ...newDisk(disk), access, attachRequest: work.id } as const];
      return { ...withWork(machine, work), ...afterAttaching(machine, disk.disk), disks };
    }
    case 'DiskAttachedToVm': {
      const disks = machine.disks.map((disk) => (disk.disk === event.disk ? attachedDisk(disk) : disk));
      return { ...idle(healthy(machine)), disks };
    }
    case 'DiskAttachUndoing': {
      const { work } = machine.power;
      return work === undefined ? machine : withWork(machine, { ...work, undo: event.failure });
    }
    case 'DiskAttachFailed':
      return { ...idle(machine), disks: without(machine.disks, event.disk), failure: event.failure };
    case 'DiskDetaching': {
      const { disk: name, work } = event;
      const disks = machine.disks.map((disk): VmDisk => (disk.disk === name ? { ...disk, phase: 'detaching' } : disk));
      return { ...withWork(machine, work), disks };
    }
    case 'DiskDetachedFromVm':
      return {
        ...idle(healthy(machine)),
        ...afterDetaching(machine, event.disk),
        disks: without(machine.disks, event.disk),
        blocked: without(machine.blocked, event.disk),
      };
  }
};

/** The machine after an event about its keys or its guest's data. */
const evolveAccess = (machine: Machine, event: AccessEvent): Machine => {
  switch (event.type) {
    case 'DiskKeyChanged':
      return {
        ...machine,
        disks: machine.disks.map((disk) => underKey(disk, event)),
        blocked: without(machine.blocked, event.disk),
        power: withAfterRestore(machine.power, event),
      };
    case 'KeyAccessReturned':
      return {
        ...machine,
        blocked: machine.blocked.filter((loss) => !isLossOf(loss, event)),
        power: withAfterRestore(machine.power, event),
      };
    case 'OutageExplained': {
      const { loss, disks } = event;
      const explained = (known: KeyLoss): KeyLoss =>
        disks.includes(known.disk) ? { ...loss, disk: known.disk } : known;
      const power = withCause(machine.power, (cause) =>
        cause.kind === 'keyLoss' && isOutage(cause.loss.reason) ? { ...cause, loss: explained(cause.loss) } : cause,
      );
      return { ...machine, blocked: machine.blocked.map(explained), power };
    }
    case 'NextStartBlocked':
      return { ...machine, blocked: withNews(machine.blocked, event.blocked) };
    case 'ContentMismatchFound':
      return { ...machine, mismatches: { count: event.count, newest: event.newest } };
  }
};

/** A disk once it is attached, without its attach request. */
const attachedDisk = ({ attachRequest: _request, ...disk }: VmDisk): VmDisk => ({ ...disk, phase: 'attached' });

const without = <Of extends { readonly disk: string }>(all: readonly Of[], disk: string): readonly Of[] =>
  all.filter((one) => one.disk !== disk);

/** The machine with its work done. */
const idle = (machine: Machine): Machine => {
  const { power } = machine;
  if (isInTransition(power)) return machine;
  const { work: _work, ...idlePower } = power;
  return { ...machine, power: idlePower };
};

/** The power of a machine whose access is restored, or whose disk got another key. */
const withAfterRestore = (
  power: PowerState,
  { startsAgain, owesStart }: Pick<Extract<AccessEvent, { type: 'KeyAccessReturned' }>, 'startsAgain' | 'owesStart'>,
): PowerState => {
  if (startsAgain === undefined && owesStart !== true) return power;
  const afterRestore: AfterRestore =
    startsAgain === undefined ? { kind: 'owesStart' } : { kind: 'startsWhenOff', work: startsAgain };
  return withCause(power, (cause) => (cause.kind === 'keyLoss' ? { ...cause, afterRestore } : cause));
};

/** The detached disks that a machine remembers once a disk is attached again. */
const afterAttaching = ({ detached }: Machine, disk: string): Pick<Machine, 'detached'> =>
  detached?.includes(disk) === true ? { detached: detached.filter((one) => one !== disk) } : {};

/** The disks with what was opened of them. If the machine is off, the open came too late and is to be closed. */
const openedDisks = (machine: Machine, opened: readonly OpenedDisk[]): readonly VmDisk[] => {
  const { disks } = machine;
  const now = withOpened(disks, opened);
  return isOff(machine) ? now.map((disk, n) => (disk === disks[n] ? disk : toClose(disk))) : now;
};

/** Whether closing disks is all that is left to be done with a machine. */
export const isToBeClosed = (vm: Vm): boolean =>
  vm.status === 'active' && vm.power.work === undefined && vm.disks.some(({ access }) => access === 'closing');

/** Events that leave disks to be closed: closing them continues the newest of these. */
const leavesDisksOpen: ReadonlySet<VmEvent['type']> = new Set(['VmStopped', 'VmStartFailed', 'DisksOpened']);
/** Events of keys and guests, which advance no work. */
const besideWork: ReadonlySet<VmEvent['type']> = new Set([
  'DisksClosed',
  'DiskKeyChanged',
  'KeyAccessReturned',
  'OutageExplained',
  'NextStartBlocked',
  'ContentMismatchFound',
]);

/**
 * The processes of a machine that an event starts or advances: its work, the disks to close, the opens that an outage ends, and
 * the losses that block its start.
 */
function processesOf(event: VmEvent): readonly string[] {
  const { type } = event;
  if (besideWork.has(type)) return type === 'NextStartBlocked' ? ['blocked'] : [];
  return [
    'work',
    ...(leavesDisksOpen.has(type) ? ['off'] : []),
    ...(type === 'DisksOpened' || type === 'VmCreated' ? ['open'] : []),
    ...(type === 'VmStartFailed' || (type === 'VmStopping' && event.reason !== undefined) ? ['blocked'] : []),
  ];
}

/**
 * How machines are stored and found: `set` by the sets of their disks, `disk` by their disks, `work` while something is
 * under way, `vmHost` by the VM host at which they are on. Nothing else that a stop because of a key changes is indexed: such a stop
 * concerns a whole fleet at once, and moving that many entries would cost more than the rest of it. A machine at a VM host has a
 * guest that is ended by a call, which costs more than its entry.
 */
export const virtualMachines: CategoryDefinition<Vm, VmEvent> = {
  name: 'vm',
  readable: [
    ...(['spec', 'disks', 'work', 'failure', 'opened', 'from', 'blocked', 'reason', 'end', 'preempted', 'at'] as const),
    ...(['host', 'number', 'isFenced'] as const),
    ...([
      'disk',
      'lun',
      'deleteWithVm',
      'sku',
      'set',
      'keyVersion',
      'diskVersion',
      'startsAgain',
      'owesStart',
    ] as const),
    ...(['loss', 'id', 'count', 'newest'] as const),
  ],
  stateVersion: 4,
  initial,
  evolve: withSteps(evolve, processesOf),
  indexes: (vm) => {
    if (vm.status !== 'creating' && vm.status !== 'active') return [];
    // Called twice for every commit of a fleet, and a machine has few disks: only the entries are allocated.
    const entries: IndexEntry[] = currentWork(vm) === undefined ? [] : [{ index: 'work', value: 'pending' }];
    for (const { disk, set } of vm.disks) {
      if (set !== '') addTo(entries, 'set', set);
      addTo(entries, 'disk', disk);
    }
    if (vm.status === 'active' && vm.placement !== undefined && !isOff(vm)) {
      addTo(entries, 'vmHost', vm.placement.host);
    }
    return entries;
  },
  isGone: ({ status }) => status !== 'creating' && status !== 'active',
};

const addTo = (entries: IndexEntry[], index: string, value: string): void => {
  if (!entries.some((one) => one.value === value && one.index === index)) entries.push({ index, value });
};
