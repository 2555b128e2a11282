import type { DiskSku } from '@interlock/contracts/interlock/access/v1/access.ts';
import { ComputeServiceDefinition } from '@interlock/contracts/interlock/compute/v1/compute.ts';
import { DiskDataServiceDefinition, DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { DiskEncryptionSetServiceDefinition } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import type { KeyExpiryPolicy } from '@interlock/contracts/interlock/disk_encryption_set/v1/set_options.ts';
import { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import { KeyVaultServiceDefinition } from '@interlock/contracts/interlock/key_vault/v1/key_vault.ts';
import type { RpcClient } from '@interlock/rpc';
import {
  type EstateKeys,
  encryptionUnder,
  makeKeys,
  type NewDiskPlan,
  newDisk,
  newDisksOfMachine,
} from '../../cloud/make-estate.ts';
import type { SimulatedCloud } from '../cloud/simulated-cloud.ts';

/** Clients of the services for the administrator, who has all rights. */
export interface Clients {
  readonly identity: RpcClient<typeof IdentityServiceDefinition>;
  readonly keyVault: RpcClient<typeof KeyVaultServiceDefinition>;
  readonly sets: RpcClient<typeof DiskEncryptionSetServiceDefinition>;
  readonly disks: RpcClient<typeof DiskServiceDefinition>;
  /** The data of disks, at the address that their open named. */
  dataAt(address: string): RpcClient<typeof DiskDataServiceDefinition>;
  readonly compute: RpcClient<typeof ComputeServiceDefinition>;
}

export const clientsOf = (world: SimulatedCloud): Clients => {
  const { client, connectTo } = world.as(world.people.administrator);
  const data = new Map<string, RpcClient<typeof DiskDataServiceDefinition>>();
  return {
    identity: client('identity', IdentityServiceDefinition),
    keyVault: client('key-vault', KeyVaultServiceDefinition),
    sets: client('disk-encryption-set', DiskEncryptionSetServiceDefinition),
    disks: client('disk', DiskServiceDefinition),
    dataAt(address) {
      const found = data.get(address) ?? connectTo('disk', address).client(DiskDataServiceDefinition);
      data.set(address, found);
      return found;
    },
    compute: client('compute', ComputeServiceDefinition),
  };
};

/** The group of all resources. */
export const group = 'subscriptions/s1/resourceGroups/g';
export const location = 'westeurope';
export const diskName = (id: string): string => `${group}/disks/${id}`;
export const machineName = (id: string): string => `${group}/virtualMachines/${id}`;
/** Id of a disk in which a fault plants a DEK: no other action uses that disk. */
export const plantedDiskId = (number: number): string => `planted-${number}`;
export const isPlanted = ({ name }: { readonly name: string }): boolean => name.startsWith(diskName('planted-'));
export const setName = (id: string): string => `${group}/diskEncryptionSets/${id}`;

/** `vaults/<v>` and `vaults/<v>/keys/<k>` of a key version. */
export const vaultOf = (keyVersion: string): string => keyVersion.split('/').slice(0, 2).join('/');
export const keyOf = (keyVersion: string): string => keyVersion.split('/versions/')[0] ?? '';

/** A vault of the plan. One of them uses role assignments. */
export interface PlannedVault {
  readonly id: string;
  readonly model: 'ACCESS_POLICY' | 'ROLE_ASSIGNMENT';
}

/** A set of the plan, under its own key or a shared one. */
export interface PlannedSet {
  readonly id: string;
  readonly vault: string;
  readonly key: string;
  readonly keyExpiry: KeyExpiryPolicy;
  readonly autoRestart: boolean;
  readonly autoRotation: boolean;
}

/** A disk of the plan; `set` empty: under the key of the platform. */
export interface PlannedDisk {
  readonly id: string;
  readonly sku: DiskSku;
  readonly set: string;
}

export const plannedVaults: readonly PlannedVault[] = [
  { id: 'kv1', model: 'ACCESS_POLICY' },
  { id: 'kv2', model: 'ROLE_ASSIGNMENT' },
  { id: 'kv3', model: 'ACCESS_POLICY' },
];

export const plannedSets: readonly PlannedSet[] = [
  { id: 'house', vault: 'kv1', key: 'k1', keyExpiry: 'STOP', autoRestart: false, autoRotation: false },
  { id: 'lodge', vault: 'kv2', key: 'k1', keyExpiry: 'STOP', autoRestart: false, autoRotation: false },
  { id: 'mill', vault: 'kv1', key: 'k2', keyExpiry: 'NEXT_START', autoRestart: false, autoRotation: true },
  { id: 'barn', vault: 'kv3', key: 'k1', keyExpiry: 'STOP', autoRestart: true, autoRotation: false },
];

/** The same, as an estate. */
const plannedKeys: EstateKeys = {
  location,
  vaults: plannedVaults.map(({ id, model }) => ({
    name: id,
    permissions: model === 'ROLE_ASSIGNMENT' ? 'roles' : 'policies',
    keys: plannedSets.filter(({ vault }) => vault === id).map(({ key }) => ({ name: key })),
  })),
  sets: plannedSets.map(({ id, vault, key, keyExpiry, autoRestart, autoRotation }) => ({
    name: id,
    key: `${vault}/${key}`,
    ...(keyExpiry === 'NEXT_START' ? { keyExpiry: 'next-start' } : {}),
    autoRestart,
    autoKeyRotation: autoRotation,
  })),
};

const disk = (id: string, sku: DiskSku, set = ''): PlannedDisk => ({ id, sku, set });

/** Every class of disk, the deciding mixtures (CMK-100 to CMK-103), and one under no customer key (CMK-111). */
export const plannedMachines: Readonly<Record<string, readonly PlannedDisk[]>> = {
  'vm-premium': [disk('premium-os', 'PREMIUM_SSD', 'house')],
  'vm-standard': [disk('ssd-os', 'STANDARD_SSD', 'house'), disk('hdd-data', 'STANDARD_HDD', 'house')],
  'vm-premium-v2': [disk('v2-os', 'PREMIUM_SSD'), disk('v2-data', 'PREMIUM_SSD_V2', 'house')],
  'vm-ultra': [disk('ultra-os', 'PREMIUM_SSD'), disk('ultra-data', 'ULTRA', 'house')],
  'vm-mixed': [
    disk('mixed-os', 'STANDARD_SSD'),
    disk('mixed-ultra', 'ULTRA', 'house'),
    disk('mixed-ssd', 'STANDARD_SSD', 'house'),
  ],
  'vm-platform': [disk('platform-os', 'STANDARD_SSD')],
  'vm-lodge-mixed': [disk('lodge-os', 'STANDARD_HDD', 'lodge'), disk('lodge-ultra', 'ULTRA', 'lodge')],
  'vm-mill': [disk('mill-os', 'PREMIUM_SSD', 'mill')],
  'vm-two-sets': [disk('two-os', 'PREMIUM_SSD', 'mill'), disk('two-data', 'STANDARD_SSD', 'house')],
  'vm-barn': [disk('barn-os', 'PREMIUM_SSD', 'barn')],
};

/** Disks no machine has at first. */
export const plannedSpares: readonly PlannedDisk[] = [
  disk('spare-house', 'STANDARD_SSD', 'house'),
  disk('spare-lodge', 'PREMIUM_SSD', 'lodge'),
  disk('spare-platform', 'STANDARD_SSD'),
];

const planOf = ({ id, sku, set }: PlannedDisk): NewDiskPlan => ({ id, sku, set: set === '' ? '' : setName(set) });

/** The encryption of a disk, for requests. @param set id; empty: under the key of the platform */
export const encryptionOf = (set: string) => encryptionUnder(set === '' ? '' : setName(set));

/** The disks of a machine, for its creation. */
export const machineDisks = (disks: readonly PlannedDisk[]) => newDisksOfMachine(disks.map(planOf));

/** Every second machine starts at another VM host if its own is lost. */
export const lossPolicyOf = (number: number): 'STAY' | 'RESTART' => (number % 2 === 0 ? 'STAY' : 'RESTART');

/** Waits for a state. @throws Error that names what did not happen */
export const waitUntil = async (
  { clock }: SimulatedCloud,
  what: string,
  look: () => Promise<boolean>,
  limitMs = 120_000,
): Promise<void> => {
  const endMs = clock.monotonicMs() + limitMs;
  for (let pauseMs = 5; !(await look()); pauseMs = Math.min(500, pauseMs * 2)) {
    if (clock.monotonicMs() > endMs) throw new Error(`after ${limitMs} ms still not: ${what}`);
    await clock.sleep(pauseMs);
  }
};

/** Whether a wait succeeded. */
export const reached = async (wait: () => Promise<void>): Promise<boolean> => {
  try {
    await wait();
    return true;
  } catch (error) {
    if (error instanceof Error && error.message.startsWith('after ')) return false;
    throw error;
  }
};

/** Creates vaults, keys, sets and machines, and waits until every machine runs. No fault may happen in that time. */
export const makeEstate = async (world: SimulatedCloud): Promise<void> => {
  const clients = clientsOf(world);
  const { disks, compute } = clients;
  const { random, people, clock } = world;
  const owner = people.administrator.name;
  const uuid = () => random.uuid();
  await makeKeys({ clients, clock, uuid, resourceGroup: group, owner }, plannedKeys);
  await Promise.all(
    plannedSpares.map((spare) => disks.createDisk({ parent: group, location, ...newDisk(planOf(spare)) })),
  );
  const create = (machines: readonly (readonly [string, readonly PlannedDisk[]])[]) =>
    Promise.all(
      machines.map(([id, planned], place) =>
        compute.createVirtualMachine({
          ...{ parent: group, virtualMachineId: id, location, hostLossPolicy: lossPolicyOf(place) },
          ...machineDisks(planned),
        }),
      ),
    );
  const machines = Object.entries(plannedMachines);
  if (world.diskHosts.length < 2) await create(machines);
  else {
    // A set fills one host before the next. Here the largest set has disks on two, so that batches and outages concern both.
    await create(machines.filter((_machine, place) => place % 2 === 0));
    const { diskHost: name } = await disks.getDisk({ name: diskName('premium-os') });
    await disks.drainDiskHost({ name, cordonOnly: true });
    await create(machines.filter((_machine, place) => place % 2 === 1));
    await disks.resumeDiskHost({ name });
  }
  await untilAllRun(world);
};

/** A token of the administrator, who owns every key: its authorization lets a set move from an unusable version. */
export const ownerToken = async (world: SimulatedCloud): Promise<string> => {
  const { id: clientId, secret: clientSecret } = world.people.administrator;
  const audience = 'interlock:key-vault';
  return (await clientsOf(world).identity.issueToken({ clientId, clientSecret, audience })).accessToken;
};

/** Starts the machines of an existing estate, and waits until each runs. No fault may happen in that time. */
export const openEstate = async (world: SimulatedCloud): Promise<void> => {
  const { compute } = clientsOf(world);
  const { outcomes } = await compute.startVirtualMachines({ names: Object.keys(plannedMachines).map(machineName) });
  const refused = outcomes.find(({ outcome }) => outcome?.$case !== 'starting');
  if (refused) throw new Error(`a machine of the estate was refused its start: ${JSON.stringify(refused)}`);
  await untilAllRun(world);
};

const untilAllRun = (world: SimulatedCloud): Promise<void> =>
  waitUntil(
    world,
    'every machine of the estate runs',
    async () => world.guests.guests.size === Object.keys(plannedMachines).length,
  );
