import { randomUUID } from 'node:crypto';
import { setPermissionsOnWire } from '@interlock/access/permissions';
import type { DiskSku } from '@interlock/contracts/interlock/access/v1/access.ts';
import type {
  DiskForMachine,
  NewDisk,
  VirtualMachine,
  VirtualMachine_Guest,
  Workload,
} from '@interlock/contracts/interlock/compute/v1/virtual_machine.ts';
import type { Clients } from './clients.ts';
import { until } from './until.ts';

/** A vault with a key, a set that may use it, and machines with disks under it. All names are full names. */
export interface World {
  readonly group: string;
  readonly vault: string;
  /** The key version of all disks. */
  readonly keyVersion: string;
  readonly set: string;
  /** The set's managed identity. */
  readonly identity: string;
  readonly machines: readonly string[];
}

/** The kind of a disk. `platform` is a Premium SSD under a key of the platform. The first disk is the OS disk. */
export type DiskKind = DiskSku | 'platform';

/** The region of all resources. */
export const location = 'westeurope';

/** Differences from the default world. */
export interface WorldOptions {
  /** A private key to import, so that a test can decrypt the disks' files; by default the vault generates the key. */
  readonly keyPem?: string;
  /** What the machines do; by default 20 reads and writes of 4 KiB a second on each disk. */
  readonly workload?: Workload;
  /** The type of guest; by default a process. */
  readonly guest?: VirtualMachine_Guest;
}

/** Creates a world and waits until its machines run. @param machines the disks of each machine */
export const makeWorld = async (
  clients: Clients,
  machines: readonly (readonly DiskKind[])[],
  { keyPem, workload = usualWorkload, guest = 'PROCESS' }: WorldOptions = {},
): Promise<World> => {
  const tag = randomUUID().slice(0, 8);
  const [{ name: subscription } = { name: '' }] = (await clients.identity.listSubscriptions({})).subscriptions;
  const group = `${subscription}/resourceGroups/g${tag}`;
  const vault = await clients.keyVault.createVault({
    vaultId: `kv-${tag}`,
    resourceGroup: group,
    location,
    sku: 'STANDARD',
    permissionModel: 'ACCESS_POLICY',
    softDeleteRetentionDays: 7,
    purgeProtectionEnabled: true,
  });
  const { sub } = JSON.parse(
    Buffer.from((await clients.tokens.token('interlock:key-vault')).split('.')[1] ?? '', 'base64url').toString(),
  );
  await clients.keyVault.setAccessPolicy({
    name: vault.name,
    accessPolicy: { principal: `principals/${sub}`, keyPermissions: ['ALL'] },
  });
  const newKey = { parent: vault.name, keyId: 'k1', requestId: randomUUID() };
  const version =
    keyPem === undefined
      ? await clients.keyVault.createKey({ ...newKey, keySizeBits: 2048 })
      : await clients.keyVault.importKey({ ...newKey, keyMaterial: { $case: 'pem', value: keyPem } });
  const created = await clients.sets.createDiskEncryptionSet({
    parent: group,
    diskEncryptionSetId: `set-${tag}`,
    location,
    keyUrl: version.keyUrl,
  });
  const set = await until('the set is made', async () => {
    const found = await clients.sets.getDiskEncryptionSet({ name: created.name });
    return found.provisioningState === 'SUCCEEDED' && found;
  });
  const identity = set.identity?.principal ?? '';
  await allowSet(clients, vault.name, identity);
  const names = await Promise.all(
    machines.map((disks, n) => makeMachine(clients, { group, set: set.name }, `vm${n}`, disks, workload, guest)),
  );
  return { group, vault: vault.name, keyVersion: version.name, set: set.name, identity, machines: names };
};

/** Gives the set's identity the permissions that it needs on the vault (CMK-05). */
export const allowSet = (clients: Pick<Clients, 'keyVault'>, vault: string, identity: string) =>
  clients.keyVault.setAccessPolicy({
    name: vault,
    accessPolicy: { principal: identity, keyPermissions: [...setPermissionsOnWire] },
  });

const usualWorkload: Workload = { kind: 'WRITE_AND_VERIFY', ioPerSecond: 20, ioSizeBytes: 4096 };

/** How long a machine in QEMU may take to start on a busy machine without KVM, in milliseconds. */
const bootLimitMs = 240_000;

/** Creates a machine with disks of these kinds, and waits until it runs. @returns its name */
export const makeMachine = async (
  clients: Clients,
  { group, set }: Pick<World, 'group' | 'set'>,
  virtualMachineId: string,
  disks: readonly DiskKind[],
  workload = usualWorkload,
  guest: VirtualMachine_Guest = 'PROCESS',
): Promise<string> => {
  const newDisk = (kind: DiskKind, n: number): NewDisk => ({
    diskId: `${virtualMachineId}-d${n}`,
    sku: kind === 'platform' ? 'PREMIUM_SSD' : kind,
    sizeGib: 1,
    encryption:
      kind === 'platform'
        ? { type: 'ENCRYPTION_AT_REST_WITH_PLATFORM_KEY', diskEncryptionSet: '' }
        : { type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: set },
  });
  const diskOf = (kind: DiskKind, n: number): DiskForMachine => ({
    lun: n === 0 ? 0 : n - 1,
    deleteWithVm: false,
    source: { $case: 'newDisk', value: newDisk(kind, n) },
  });
  const [osDisk, ...dataDisks] = disks.map(diskOf);
  const { name } = await clients.compute.createVirtualMachine({
    parent: group,
    virtualMachineId,
    location,
    ...(osDisk ? { osDisk } : {}),
    dataDisks,
    ultraSsdEnabled: disks.includes('ULTRA'),
    workload,
    guest,
  });
  const { failure } = await until(
    `${name} is made`,
    async () => {
      const machine = await clients.compute.getVirtualMachine({ name });
      return (machine.powerState === 'RUNNING' || machine.provisioningState === 'FAILED') && machine;
    },
    guest === 'QEMU' ? bootLimitMs : undefined,
  );
  if (failure !== undefined) throw new Error(`${name} was not made: ${failure.code}: ${failure.message}`);
  return name;
};

/** Waits until a machine reports that power state. */
export const untilPower = (
  clients: Clients,
  name: string,
  power: VirtualMachine['powerState'],
  limitMs?: number,
): Promise<VirtualMachine> =>
  until(
    `${name} is ${power}`,
    async () => {
      const machine = await clients.compute.getVirtualMachine({ name });
      return machine.powerState === power && machine;
    },
    limitMs,
  );

/** Waits until the set may use its key again, then starts the machines and waits until they run, with any type of guest. */
export const startAgain = async (clients: Clients, set: string, machines: readonly string[]): Promise<void> => {
  await until(`${set} may use its key`, async () => {
    const { keyAccess } = await clients.sets.getDiskEncryptionSet({ name: set });
    return keyAccess.length > 0 && keyAccess.every(({ state }) => state === 'AVAILABLE');
  });
  await Promise.all(
    machines.map(async (name) => {
      await clients.compute.startVirtualMachine({ name });
      await untilPower(clients, name, 'RUNNING', bootLimitMs);
    }),
  );
};
