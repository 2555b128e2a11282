import { lossOutcome, outlivesKeyLoss } from '@interlock/access/outcome';
import type { DiskSku } from '@interlock/contracts/interlock/access/v1/access.ts';
import type { DiskClass } from '../experiment.ts';
import { disksOfMachine, type EstateDisk, type EstateFile, type EstateMachine, type EstateSet } from './estate-file.ts';

/** How access to a key is lost. */
export type EstateLoss = 'disable' | 'delete' | 'purge' | 'expire' | 'revoke';

/** One effect, with the fields of `Impact` of the contracts; names as in the estate. */
export interface EstateImpact {
  readonly kind:
    | 'SET_LOSES_KEY'
    | 'VIRTUAL_MACHINE_STOPS'
    | 'VIRTUAL_MACHINE_FAILS_AT_NEXT_START'
    | 'DISK_UNAVAILABLE'
    | 'DISK_UNAVAILABLE_ONCE_STOPPED'
    | 'DISK_UNREADABLE';
  readonly resource: string;
  readonly diskEncryptionSet: string;
  readonly keyVersions?: readonly string[];
  readonly disks?: readonly string[];
  readonly virtualMachine?: string;
  readonly powerState?: 'RUNNING' | 'STOPPED';
  readonly sku?: string;
  readonly startsAgain?: boolean;
}

/** What the loss of a key does to an estate. */
export interface EstateOutcome {
  /** Set by set: the set, its machines, its disks. */
  readonly impacts: readonly EstateImpact[];
  /** Names of machines that run and keep all their disks. */
  readonly runOn: readonly string[];
}

/** `DiskSku` of the contracts for each class. */
export const skuOfClass: Readonly<Record<DiskClass, DiskSku>> = {
  'premium-ssd': 'PREMIUM_SSD',
  'premium-ssd-v2': 'PREMIUM_SSD_V2',
  'standard-ssd': 'STANDARD_SSD',
  'standard-hdd': 'STANDARD_HDD',
  ultra: 'ULTRA',
};

/**
 * What happens to an estate whose keys are lost, without a cloud.
 * @param keys `vault/key` each, as the sets of the estate name them
 */
export function impactOnEstate(estate: EstateFile, keys: ReadonlySet<string>, loss: EstateLoss): EstateOutcome {
  const disks = new Map(estate.disks.map((disk) => [disk.name, disk]));
  const holders = new Map(estate.machines.flatMap((machine) => disksOfMachine(machine).map((disk) => [disk, machine])));
  const impacts = estate.sets
    .filter(({ key }) => keys.has(key))
    .flatMap((set) => [
      { kind: 'SET_LOSES_KEY', resource: set.name, diskEncryptionSet: set.name, keyVersions: [set.key] } as const,
      ...estate.machines.flatMap((machine) => machineImpact(machine, set, disks, loss)),
      ...estate.disks
        .filter((disk) => disk.set === set.name)
        .map((disk) => diskImpact(disk, set, holders.get(disk.name), loss)),
    ]);
  const affected = new Set(impacts.filter(({ kind }) => kind.startsWith('VIRTUAL_')).map(({ resource }) => resource));
  const runOn = estate.machines.filter(({ name, running }) => running !== false && !affected.has(name));
  return { impacts, runOn: runOn.map(({ name }) => name) };
}

/** Whether running machines outlive this loss of the key of a set. */
const isLenient = ({ keyExpiry }: EstateSet, loss: EstateLoss): boolean =>
  loss === 'expire' && keyExpiry === 'next-start';

function machineImpact(
  machine: EstateMachine,
  set: EstateSet,
  disks: ReadonlyMap<string, EstateDisk>,
  loss: EstateLoss,
): readonly EstateImpact[] {
  const isRunning = machine.running !== false;
  const under = disksOfMachine(machine).flatMap((name) => {
    const disk = disks.get(name);
    return disk?.set === set.name ? [disk] : [];
  });
  const found = lossOutcome(
    isRunning && !isLenient(set, loss),
    under.map((disk) => skuOfClass[disk.class]),
  );
  if (found === undefined) return [];
  return [
    {
      kind: `VIRTUAL_MACHINE_${found}`,
      resource: machine.name,
      diskEncryptionSet: set.name,
      disks: under.map(({ name }) => name),
      powerState: isRunning ? 'RUNNING' : 'STOPPED',
      startsAgain: found === 'STOPS' && set.autoRestart === true && loss !== 'purge',
    },
  ];
}

function diskImpact(
  disk: EstateDisk,
  set: EstateSet,
  holder: EstateMachine | undefined,
  loss: EstateLoss,
): EstateImpact {
  const sku = skuOfClass[disk.class];
  const isOpen = holder !== undefined && holder.running !== false;
  const isKept = isOpen && (outlivesKeyLoss(sku) || isLenient(set, loss));
  return {
    kind: loss === 'purge' ? 'DISK_UNREADABLE' : isKept ? 'DISK_UNAVAILABLE_ONCE_STOPPED' : 'DISK_UNAVAILABLE',
    resource: disk.name,
    diskEncryptionSet: set.name,
    keyVersions: [set.key],
    ...(holder === undefined ? {} : { virtualMachine: holder.name }),
    sku,
  };
}
