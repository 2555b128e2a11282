import { randomUUID } from 'node:crypto';
import type { DiskSku } from '@interlock/contracts/interlock/access/v1/access.ts';
import type {
  VirtualMachine,
  VirtualMachine_Guest,
  Workload,
} from '@interlock/contracts/interlock/compute/v1/virtual_machine.ts';
import { systemClock } from '@interlock/runtime';
import type { Clients } from './clients.ts';
import { type EstatePlace, makeKeys, newDisksOfMachine } from './make-estate.ts';
import { until, untilAnswered } from './until.ts';

export { allowSet } from './service-owner.ts';

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
  const estate = await ownEstate(clients);
  const { resourceGroup: group } = estate;
  const tag = randomUUID().slice(0, 8);
  const made = await makeKeys(
    { ...estate, keyPem },
    {
      location,
      vaults: [{ name: `kv-${tag}`, keys: [{ name: 'k1' }] }],
      sets: [{ name: `set-${tag}`, key: `kv-${tag}/k1` }],
    },
  );
  const key = made.get(`set-${tag}`);
  if (key === undefined) throw new Error(`set-${tag} was not made`);
  const { vault, keyVersion, set, principal: identity } = key;
  const names = await Promise.all(
    machines.map((disks, n) => makeMachine(clients, { group, set }, `vm${n}`, disks, workload, guest)),
  );
  return { group, vault, keyVersion, set, identity, machines: names };
};

/** A new resource group for an estate, whose vaults the caller owns. */
export const ownEstate = async (clients: Clients): Promise<EstatePlace> => {
  const [{ name: subscription } = { name: '' }] = (await clients.identity.listSubscriptions({})).subscriptions;
  const [, claims = ''] = (await clients.tokens.token('interlock:key-vault')).split('.');
  const { sub } = JSON.parse(Buffer.from(claims, 'base64url').toString());
  const resourceGroup = `${subscription}/resourceGroups/g${randomUUID().slice(0, 8)}`;
  const owner = `principals/${sub}`;
  return { clients, clock: systemClock, uuid: randomUUID, resourceGroup, owner, purgeProtectionEnabled: true };
};

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
  const planned = disks.map((kind, n) => ({
    id: `${virtualMachineId}-d${n}`,
    ...(kind === 'platform' ? { sku: 'PREMIUM_SSD' as const, set: '' } : { sku: kind, set }),
  }));
  const request = { parent: group, virtualMachineId, location, ...newDisksOfMachine(planned), workload, guest };
  // A creation responds when it is over. A repeat waits for the same creation.
  const { name } = await untilAnswered(() => clients.compute.createVirtualMachine(request));
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
