import type { AccessReason } from '@interlock/access';
import { isFinal } from '@interlock/lab/causes';
import { causes, type TableCause, type TableCauseName } from './causes.ts';

/** The class of a machine's disks under the key; `mixed`: a Premium SSD and an ultra disk, both under it. */
export const diskClasses = ['Premium SSD', 'Premium SSD v2', 'Standard SSD', 'Standard HDD', 'Ultra', 'mixed'] as const;
export type DiskClass = (typeof diskClasses)[number];

/**
 * The state of a machine at the moment when the key is lost.
 *
 * - `starting`: its disks are open, its guest is starting.
 * - `stopping`: its user powered it off, its guest is shutting down.
 * - `being created`: the disk service has opened its disks, and the response is on its way.
 * - `attaching`: it runs with an OS disk of the platform, and its guest is taking over the disk. If the class is
 *   mixed, the Premium SSD is being attached and the ultra disk is attached already.
 */
export const machineStates = [
  'running',
  'starting',
  'stopping',
  'stopped',
  'deallocated',
  'being created',
  'attaching',
] as const;
export type MachineState = (typeof machineStates)[number];

/** What must be seen once no operation is in progress. */
export interface Expectation {
  /** Power state; `NONE` if the machine does not exist. */
  readonly end: 'RUNNING' | 'STOPPED' | 'DEALLOCATED' | 'NONE';
  /** The outcome of a create or an attach in progress; `none` if there was none. */
  readonly answer: 'done' | AccessReason | 'none';
  /** Why the platform stopped it; `none` if it did not. */
  readonly stopReason: AccessReason | 'none';
  /** Reads and writes with the last disk handle of its guest; `none` if it never had one. */
  readonly io: 'continues' | 'refused' | 'none';
  /** Its disks under the key; `NONE` if they were never created. */
  readonly disks: 'AVAILABLE' | 'UNAVAILABLE' | 'LEASE_PINNED' | 'NONE';
  readonly diskReason: AccessReason | 'none';
  /** Whether the set shows its key as lost, and why. */
  readonly set: AccessReason | 'none';
  /** The outcome of StartVirtualMachine; a running machine is deallocated first. `NOT_FOUND`: it does not exist. */
  readonly start: 'runs' | 'NOT_FOUND' | AccessReason;
  /** Its data once access is restored; `none` if there never was any. */
  readonly data: 'there' | 'lost' | 'none';
}

/** One cell of the table. */
export interface Cell {
  readonly cause: TableCauseName;
  readonly diskClass: DiskClass;
  readonly state: MachineState;
  /** The rule that decides it. */
  readonly rule: string;
  readonly expected: Expectation;
}

/** Every cell of a cause. */
export const cellsOf = (cause: TableCause): readonly Cell[] =>
  diskClasses.flatMap((diskClass) =>
    machineStates.map((state) => ({
      cause: cause.name,
      diskClass,
      state,
      rule: ruleOf(cause, diskClass, state),
      expected: expectationOf(cause, diskClass, state),
    })),
  );

/** The rule for a cell: that of the machine's state if there is one, otherwise that of its disk class. */
const ruleOf = ({ effect }: TableCause, diskClass: DiskClass, state: MachineState): string => {
  if (state === 'stopped' || state === 'deallocated') return 'CMK-114';
  if (state === 'stopping') return 'CMK-106';
  if (effect === 'start only') return state === 'being created' ? 'CMK-106' : 'CMK-104';
  if (effect === 'throttle') return state === 'being created' ? 'CMK-106' : 'KV-95';
  if (diskClass === 'Ultra') return state === 'being created' ? 'CMK-106' : 'CMK-102';
  if (state === 'being created' || state === 'attaching') return 'CMK-110';
  return diskClass === 'mixed' ? 'CMK-103' : 'CMK-101';
};

const expectationOf = (cause: TableCause, diskClass: DiskClass, state: MachineState): Expectation => {
  const { effect, reason, stopReason = reason, played } = cause;
  const goesOn = effect === 'start only' || effect === 'throttle';
  const isDecided = effect === 'loss' || effect === 'start only';
  const isAnswered = state === 'being created' || state === 'attaching';
  /** Off, and refused to start: the state of every machine that does not run when the key is lost (CMK-106, CMK-114). */
  const off = {
    end: 'STOPPED',
    answer: 'none',
    stopReason: 'none',
    io: 'refused',
    // If running machines continue, the disks serve them: only a new open is refused.
    ...(goesOn
      ? ({ disks: 'AVAILABLE', diskReason: 'none' } as const)
      : ({ disks: 'UNAVAILABLE', diskReason: reason } as const)),
    // A set publishes only decisions of the vault. A missing response or a temporary refusal is not a decision.
    set: isDecided ? reason : 'none',
    start: reason,
    data: isFinal(played.cause) ? 'lost' : 'there',
  } as const;
  switch (state) {
    case 'stopping':
    case 'stopped':
      return off;
    case 'deallocated':
      return { ...off, end: 'DEALLOCATED' };
  }
  const isSpared = diskClass === 'Ultra' || goesOn;
  // Its disks exist, so it is created. The start that follows needs a new unwrap and fails (VM-11, VM-47).
  if ((isSpared || effect === 'outage') && state === 'being created') return { ...off, answer: 'done', io: 'none' };
  if (isSpared) {
    const disks = goesOn ? 'AVAILABLE' : 'LEASE_PINNED';
    return { ...off, end: 'RUNNING', answer: isAnswered ? 'done' : 'none', io: 'continues', disks };
  }
  if (state === 'being created') {
    // Not acknowledged yet, so it fails as a whole and leaves nothing (CMK-110).
    const gone = { disks: 'NONE', diskReason: 'none', start: 'NOT_FOUND', data: 'none' } as const;
    return { ...off, ...gone, end: 'NONE', answer: stopReason, io: 'none' };
  }
  // A caller retries after an outage, and attaching to a machine that is off by now needs no key.
  if (effect === 'outage' && state === 'attaching') return { ...off, answer: 'done', stopReason };
  const stopped = { ...off, answer: isAnswered ? stopReason : 'none', stopReason } as const;
  // The attach has failed and the disk is unattached again. The machine has only a disk of the platform, unless it is mixed.
  return state === 'attaching' && diskClass !== 'mixed' ? { ...stopped, start: 'runs' } : stopped;
};

/** The whole table: causes × disk classes × machine states. */
export const truthTable: readonly Cell[] = causes.flatMap(cellsOf);
