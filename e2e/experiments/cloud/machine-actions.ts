import { Rejection } from '@interlock/event-store';
import { type DiskClass, type MachineAction, type RefusalRecord, type Step, skuOfClass } from '@interlock/lab';
import { shortName } from '@interlock/lab/short-name';
import type { Clock } from '@interlock/runtime';
import type { Clients } from '../../cloud/clients.ts';
import type { KeyPlace } from '../../cloud/key-state.ts';
import { newDisk } from '../../cloud/make-estate.ts';
import { location } from '../../cloud/world.ts';
import type { MadeMachine } from './planned-estate.ts';
import { refusedOf } from './refused.ts';

/** Services that users of machines call. */
export type MachineClients = Pick<Clients, 'sets' | 'disks' | 'compute'>;

/** A machine that a step acts on, before the action, and what the action creates. Plain JSON. */
interface TargetMachine {
  /** Full name. */
  readonly name: string;
  readonly wasOn: boolean;
  /** The disk that is attached or detached, by its full name, and its LUN. */
  readonly disk?: { readonly name: string; readonly lun: number; readonly class: DiskClass; readonly set: string };
  /** Disks of which snapshots are taken, with the full names of these. */
  readonly snapshots: readonly { readonly disk: string; readonly name: string }[];
}

/** Everything that an action on machines and its undo need. Plain JSON, for `Undo.data`. */
export interface MachineUndo {
  readonly machines: readonly TargetMachine[];
}

/** LUN of a disk that a step attaches: above those of an estate. */
const attachLun = 15;

const parentOf = (name: string): string => name.split('/').slice(0, 4).join('/');

/**
 * What a step and its undo need. Changes nothing.
 * @param machines those of the target @param keys by the name of a key in the experiment
 * @param uuid draws UUIDs, for the names of new disks and snapshots
 * @throws Error if a machine has no data disk to detach
 */
export const planMachineAction = (
  { compute }: MachineClients,
  { action }: Pick<Step, 'action'>,
  parts: {
    readonly machines: readonly MadeMachine[];
    readonly keys: ReadonlyMap<string, KeyPlace>;
    readonly uuid: () => string;
  },
): Promise<MachineUndo> => {
  const { machines, keys, uuid } = parts;
  const plan = async ({ name, disks }: MadeMachine): Promise<TargetMachine> => {
    const { powerState, dataDisks } = await compute.getVirtualMachine({ name });
    const base = { name, wasOn: powerState === 'RUNNING', snapshots: [] };
    const last = disks.at(-1);
    if (last === undefined) throw new Error(`${name} has no disk`);
    const set = keys.get(last.key)?.set ?? '';
    const tag = uuid().slice(0, 8);
    if (action === 'attach') {
      const disk = `${parentOf(name)}/disks/${shortName(name)}-${tag}`;
      return { ...base, disk: { name: disk, lun: attachLun, class: last.class as DiskClass, set } };
    }
    if (action === 'detach') {
      const attached = dataDisks.at(-1);
      if (attached === undefined) throw new Error(`${name} has no data disk to detach`);
      return { ...base, disk: { name: attached.disk, lun: attached.lun, class: last.class as DiskClass, set } };
    }
    if (action !== 'snapshot') return base;
    const snapshots = disks.map((disk) => ({
      disk: disk.name,
      name: `${parentOf(name)}/snapshots/${shortName(disk.name)}-${tag}`,
    }));
    return { ...base, snapshots };
  };
  return Promise.all(machines.map(plan)).then((planned) => ({ machines: planned }));
};

/** Starts those that are off, in one call. Whether they run depends on their keys. */
const start = async ({ compute }: MachineClients, names: readonly string[]): Promise<void> => {
  if (names.length > 0) await compute.startVirtualMachines({ names: [...names] });
};

const stop = ({ compute }: MachineClients, names: readonly string[]): readonly Promise<unknown>[] =>
  names.map((name) => compute.deallocateVirtualMachine({ name }));

/** A disk whose attachment was refused is not there. */
const detachIfAttached = async (compute: MachineClients['compute'], name: string, disk: string): Promise<void> => {
  try {
    await compute.detachDisk({ name, disk });
  } catch (error) {
    if (!(error instanceof Rejection) || error.reason !== 'DISK_NOT_ATTACHED') throw error;
  }
};

const attach = async ({ disks, compute }: MachineClients, machine: TargetMachine): Promise<void> => {
  const { name, disk } = machine;
  if (disk === undefined) return;
  const planned = { id: shortName(disk.name), sku: skuOfClass[disk.class], set: disk.set };
  await disks.createDisk({ parent: parentOf(disk.name), location, ...newDisk(planned) });
  await compute.attachDisk({ name, disk: disk.name, lun: disk.lun });
};

/** The calls of an action, which run at the same time. */
interface Implementation {
  carryOut(clients: MachineClients, machines: readonly TargetMachine[]): readonly Promise<unknown>[];
  undo(clients: MachineClients, machines: readonly TargetMachine[]): readonly Promise<unknown>[];
}

const namesOf = (machines: readonly TargetMachine[]): readonly string[] => machines.map(({ name }) => name);

const implementations: Readonly<Record<MachineAction, Implementation>> = {
  start: {
    carryOut: (clients, machines) => [start(clients, namesOf(machines))],
    undo: (clients, machines) => stop(clients, namesOf(machines.filter(({ wasOn }) => !wasOn))),
  },
  stop: {
    carryOut: (clients, machines) => stop(clients, namesOf(machines)),
    undo: (clients, machines) => [start(clients, namesOf(machines.filter(({ wasOn }) => wasOn)))],
  },
  attach: {
    carryOut: (clients, machines) => machines.map((machine) => attach(clients, machine)),
    undo: ({ compute }, machines) =>
      machines.map(({ name, disk }) => detachIfAttached(compute, name, disk?.name ?? '')),
  },
  detach: {
    carryOut: ({ compute }, machines) =>
      machines.map(({ name, disk }) => compute.detachDisk({ name, disk: disk?.name ?? '' })),
    undo: ({ compute }, machines) =>
      machines.map(({ name, disk }) =>
        compute.attachDisk({ name, disk: disk?.name ?? '', lun: disk?.lun ?? attachLun }),
      ),
  },
  snapshot: {
    carryOut: ({ disks }, machines) =>
      machines.flatMap(({ snapshots }) =>
        snapshots.map(({ disk: sourceDisk, name }) =>
          disks.createSnapshot({
            parent: parentOf(name),
            snapshotId: shortName(name),
            sourceDisk,
            incremental: true,
          }),
        ),
      ),
    undo: ({ disks }, machines) =>
      machines.flatMap(({ snapshots }) => snapshots.map(({ name }) => disks.deleteSnapshot({ name }))),
  },
};

/** Whether users of machines carry the action out. */
export const isMachineAction = (action: string): action is MachineAction => Object.hasOwn(implementations, action);

/** Another operation runs on the machine: a user waits until it has ended, and repeats. */
export const isBusy = (error: unknown): boolean =>
  error instanceof Rejection && error.reason === 'OPERATION_IN_PROGRESS';

/**
 * Carries out an action on machines.
 * @returns the operations that were refused because of a key @throws RpcFailure or Rejection of a service for another cause
 */
export const carryOutMachineAction = (
  clients: MachineClients,
  action: MachineAction,
  { machines }: MachineUndo,
  now: () => number,
): Promise<readonly RefusalRecord[]> => refusedOf(implementations[action].carryOut(clients, machines), now);

/** Restores the earlier state. Disks that a step attached are detached and kept. @throws RpcFailure or Rejection of a service */
export const undoMachineAction = async (
  clients: MachineClients,
  action: MachineAction,
  { machines }: MachineUndo,
): Promise<void> => {
  await Promise.all(implementations[action].undo(clients, machines));
};

/** How long a set may take until it can use its key again, and the pause between two checks, in milliseconds. */
const restoredWithinMs = 120_000;
const lookEveryMs = 100;

/**
 * Waits until the set can use its keys, then starts those of the machines that are off.
 * @throws Error if the set cannot use its key in time, or a machine does not stop
 */
export const startStopped = async (
  clients: MachineClients,
  clock: Clock,
  set: string,
  names: readonly string[],
): Promise<void> => {
  const endMs = clock.monotonicMs() + restoredWithinMs;
  const until = async (what: string, look: () => Promise<boolean>): Promise<void> => {
    while (!(await look())) {
      if (clock.monotonicMs() > endMs) throw new Error(`after ${restoredWithinMs / 1_000} s still not: ${what}`);
      await clock.sleep(lookEveryMs);
    }
  };
  await until(`${set} can use its key`, async () => {
    const { keyAccess } = await clients.sets.getDiskEncryptionSet({ name: set });
    return keyAccess.length > 0 && keyAccess.every(({ state }) => state === 'AVAILABLE');
  });
  const powerOf = async (name: string) => (await clients.compute.getVirtualMachine({ name })).powerState;
  const off: string[] = [];
  for (const name of names) {
    await until(`${name} is on or off`, async () => !['STOPPING', 'DEALLOCATING'].includes(await powerOf(name)));
    if (['STOPPED', 'DEALLOCATED'].includes(await powerOf(name))) off.push(name);
  }
  await start(clients, off);
};
