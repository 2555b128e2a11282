import type { KeyObject } from 'node:crypto';
import type { DiskSku } from '@interlock/contracts/interlock/access/v1/access.ts';
import type { KeyVersion } from '@interlock/contracts/interlock/key_vault/v1/key_version.ts';
import type { History } from '@interlock/lab/judge/journal/history';
import type { Clock, Random } from '@interlock/runtime';
import type { Clients, Outside } from '../cloud/clients.ts';
import type { DataPath } from '../cloud/data-path.ts';
import type { ExperimentRunner } from './experiments.ts';
import type { HostFiles } from './files/host-files.ts';
import type { See } from './findings.ts';
import type { RehearsedCloud } from './rehearsed-cloud.ts';
import { tag } from './settings.ts';
import type { Timeline } from './timeline.ts';

/** What a step needs to say what it sees. */
export interface Seeing {
  /** Reports what a step shows about a rule. */
  readonly see: See;
}

/** What every step needs. */
export interface World extends Seeing {
  readonly cloud: RehearsedCloud;
  readonly outside: Outside;
  readonly dataPath: DataPath;
  readonly timeline: Timeline;
  readonly experiments: ExperimentRunner;
  /** What the guests recorded up to now. */
  readonly history: () => Promise<History>;
  /** The files of the hosts of disks and of guests. */
  readonly files: HostFiles;
  readonly clock: Clock;
  readonly random: Random;
  /** Aborted when the user ends the rehearsal. */
  readonly signal: AbortSignal;
}

/** A principal who acts, with clients of the services. */
export interface Person extends Clients {
  /** `principals/<uuid>` */
  readonly principal: string;
}

/** The principals in the workflow of customer-managed keys. */
export interface People {
  readonly administrator: Person;
  readonly vaultAdministrator: Person;
  readonly vmUser: Person;
}

/** The two keys: one created in the vault, one imported, whose owner still has the private key. */
export interface Keys {
  readonly generated: KeyInVault;
  readonly imported: KeyInVault & Pick<KeyVersion, 'keySizeBits'> & { readonly privateKey: KeyObject };
}

/** A key version by its full name, and as other services name it. */
export type KeyInVault = Pick<KeyVersion, 'name' | 'keyUrl'>;

/** A disk that exists. */
export interface MadeDisk {
  /** Full name. */
  readonly name: string;
  /** UUID. */
  readonly id: string;
  /** Full name of its disk host. */
  readonly diskHost: string;
  readonly sku: string;
  /** Full name of its set, or empty under the platform's key. */
  readonly set: string;
}

/** A disk encryption set that exists. */
export interface KeySet {
  readonly name: string;
  /** `principals/<uuid>` of its managed identity. */
  readonly principal: string;
}

/** The region of all resources here. */
export const location = 'westeurope';

/** Ids of the vault and of its content. */
export const vaultId = `rehearsal${tag}`;
export const vaultName = `vaults/${vaultId}`;
export const generatedKey = `${vaultName}/keys/house`;
export const importedKeyId = 'brought';

/** Resource groups: keys are separate from machines, so that users of machines have no rights on keys (CMK-06). */
export const groupsOf = ({ cloud }: Pick<World, 'cloud'>) => {
  const { subscription } = cloud.administrator;
  return {
    keys: `${subscription}/resourceGroups/keys${tag}`,
    machines: `${subscription}/resourceGroups/machines${tag}`,
  };
};

/** A disk of the plan. `set`: under which of the two sets, or the platform's key. */
export interface PlannedDisk {
  readonly id: string;
  readonly sku: DiskSku;
  readonly set: 'house' | 'lodge' | 'platform';
}

/** A machine of the plan. */
export interface PlannedMachine {
  readonly id: string;
  readonly os: PlannedDisk;
  readonly data: readonly PlannedDisk[];
  /** The required effect of losing the key `house` (CMK-100, CMK-102, CMK-103, CMK-111). */
  readonly onLoss: 'stops' | 'keeps running' | 'untouched';
}

const disk = (id: string, sku: DiskSku, set: PlannedDisk['set']): PlannedDisk => ({ id, sku, set });

/** Existed before the customer key, and is moved under the set later (CMK-06). */
export const movedDisk = disk('older-disk', 'STANDARD_SSD', 'platform');

/** Belongs to no machine. It is used where a key must be refused. */
export const spareDisk = disk('spare', 'STANDARD_SSD', 'house');

/** One machine of each class, the deciding combinations, and two that must not be affected. */
export const machines: readonly PlannedMachine[] = [
  { id: 'vm-hdd', os: disk('hdd-os', 'STANDARD_HDD', 'house'), data: [], onLoss: 'stops' },
  { id: 'vm-ssd', os: disk('ssd-os', 'STANDARD_SSD', 'house'), data: [], onLoss: 'stops' },
  { id: 'vm-premium', os: disk('premium-os', 'PREMIUM_SSD', 'house'), data: [], onLoss: 'stops' },
  {
    id: 'vm-premium-v2',
    os: disk('v2-os', 'PREMIUM_SSD', 'platform'),
    data: [disk('v2-data', 'PREMIUM_SSD_V2', 'house')],
    onLoss: 'stops',
  },
  {
    id: 'vm-mixed',
    os: disk('mixed-os', 'STANDARD_SSD', 'platform'),
    data: [disk('mixed-ultra', 'ULTRA', 'house'), { ...movedDisk, set: 'house' }],
    onLoss: 'stops',
  },
  {
    id: 'vm-ultra',
    os: disk('ultra-os', 'PREMIUM_SSD', 'platform'),
    data: [disk('ultra-data', 'ULTRA', 'house')],
    onLoss: 'keeps running',
  },
  { id: 'vm-platform', os: disk('platform-os', 'STANDARD_SSD', 'platform'), data: [], onLoss: 'untouched' },
  { id: 'vm-other-key', os: disk('other-os', 'PREMIUM_SSD', 'lodge'), data: [], onLoss: 'untouched' },
];

/** Every disk of a machine, the OS disk first. */
export const disksOf = ({ os, data }: PlannedMachine): readonly PlannedDisk[] => [os, ...data];

/** Every planned disk, including the spare one. */
export const allDisks: readonly PlannedDisk[] = [...machines.flatMap(disksOf), spareDisk];

/** Full names. */
export const namesIn = (world: Pick<World, 'cloud'>) => {
  const group = groupsOf(world).machines;
  return {
    disk: (id: string) => `${group}/disks/${id}`,
    machine: (id: string) => `${group}/virtualMachines/${id}`,
    set: (id: string) => `${group}/diskEncryptionSets/${id}`,
    snapshot: (id: string) => `${group}/snapshots/${id}`,
  };
};
