import { evolve, initial } from './decider.ts';
import type { OpenedDisk, VmEvent } from './events.ts';
import type { PlannedDisk, Sku, VmSpec, Work, WorkKind } from './machine.ts';
import type { Operation } from './operations.ts';
import type { Vm } from './state.ts';

/** What decider tests use. */
export const at = 1_000;
export const vm = 'subscriptions/s/resourceGroups/g/virtualMachines/vm1';
export const setOf = (name: string): string => `subscriptions/s/resourceGroups/g/diskEncryptionSets/${name}`;
export const diskOf = (name: string): string => `subscriptions/s/resourceGroups/g/disks/${name}`;
export const version1 = 'vaults/kv1/keys/k1/versions/11111111111111111111111111111111';
export const version2 = 'vaults/kv1/keys/k1/versions/22222222222222222222222222222222';

export const ask = (id = 'op'): Operation => ({
  vm,
  id,
  at,
  correlationId: 'cor',
  caller: 'principals/user',
});
export const work = (kind: WorkKind, id = 'op'): Work => {
  const { vm: _vm, ...rest } = ask(id);
  return { ...rest, kind };
};

/** A disk of a class under a set; `''` is the platform's key. */
export const disk = (name: string, lun: number, sku: Sku, set = ''): PlannedDisk => ({
  disk: diskOf(name),
  lun,
  isOs: name === 'os',
  deleteWithVm: false,
  sku,
  set: set === '' ? '' : setOf(set),
  keyVersion: set === '' ? '' : version1,
});

export const specFor = (disks: readonly PlannedDisk[]): VmSpec => ({
  location: 'westeurope',
  ultraSsdEnabled: true,
  guest: 'PROCESS',
  workload: { kind: 'IDLE', ioPerSecond: 10, ioSizeBytes: 4_096 },
  disks: disks.map(({ disk: name, lun, isOs, deleteWithVm }) => ({ disk: name, lun, isOs, deleteWithVm })),
});

/** The disks as opened at that access epoch. */
export const openedAt = (accessEpoch: number, disks: readonly PlannedDisk[], attachEpoch = 1): readonly OpenedDisk[] =>
  disks.map(({ disk: name, sku, set, keyVersion }) => ({
    disk: name,
    sku,
    set,
    keyVersion,
    accessEpoch: set === '' ? 0 : accessEpoch,
    attachEpoch,
  }));

/** The loss of key version 1 by a set, at that access epoch. */
export const lossOf = (set: string, accessEpoch: number) =>
  ({ reason: 'KEY_DISABLED', set: setOf(set), keyVersion: version1, since: at, traceId: 't', accessEpoch }) as const;

export const fold = (events: readonly VmEvent[]): Vm => events.reduce(evolve, initial);

/** Events of a running machine whose disks were opened at that access epoch. */
export const running = (disks: readonly PlannedDisk[], accessEpoch = 5): readonly VmEvent[] => [
  { type: 'VmCreationStarted', spec: specFor(disks), disks, work: work('create', 'c'), at },
  { type: 'VmCreated', opened: openedAt(accessEpoch, disks), disks, at },
  { type: 'VmStarted', at },
];

/** Events of a machine that its user powered off. */
export const stopped = (disks: readonly PlannedDisk[]): readonly VmEvent[] => [
  ...running(disks),
  { type: 'VmStopping', work: work('powerOff', 'p'), at },
  { type: 'VmStopped', at },
  { type: 'DisksClosed', at },
];

/** Events of a machine that its user deallocated. */
export const deallocatedVm = (disks: readonly PlannedDisk[]): readonly VmEvent[] => [
  ...running(disks),
  { type: 'VmDeallocating', work: work('deallocate', 'd'), at },
  { type: 'VmDeallocated', at },
];
