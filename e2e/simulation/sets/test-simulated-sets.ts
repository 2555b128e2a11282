import { setPermissionsOnWire } from '@interlock/access/permissions';
import type { DiskSku } from '@interlock/contracts/interlock/access/v1/access.ts';
import { ComputeServiceDefinition } from '@interlock/contracts/interlock/compute/v1/compute.ts';
import { DiskDataServiceDefinition, DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import {
  type DiskEncryptionSet,
  DiskEncryptionSetServiceDefinition,
} from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import { KeyVaultServiceDefinition } from '@interlock/contracts/interlock/key_vault/v1/key_vault.ts';
import { RpcFailure } from '@interlock/rpc';
import { Metadata } from 'nice-grpc-common';
import { accessTokenKey } from '../../../services/disk/src/host/data/access-token.ts';
import { newDisk, newDisksOfMachine } from '../../cloud/make-estate.ts';
import { createSimulatedCloud, type SimulatedCloud } from '../index.ts';

export const parent = 'subscriptions/s1/resourceGroups/g';
export const location = 'westeurope';

/** The key of a disk: that of a set, or the platform's. */
type Under = DiskEncryptionSet | 'platform';

/** The credentials of a principal. */
interface Secret {
  readonly id: string;
  readonly secret: string;
}

/** The first bytes of a disk. */
interface DiskContent {
  write(data: Uint8Array): Promise<void>;
  read(lengthBytes: number): Promise<Buffer>;
}

/** The whole cloud as its administrator uses it, in virtual time. */
export type SimulatedSets = ReturnType<typeof simulatedSets>;

/** Runs a history in its own cloud and ends it. @throws what the history throws */
export const inSimulatedCloud = async (
  seed: number,
  history: (world: SimulatedSets) => Promise<void>,
): Promise<void> => {
  const cloud = await createSimulatedCloud({ seed });
  try {
    await cloud.run(() => history(simulatedSets(cloud)));
  } finally {
    cloud.close();
  }
};

const simulatedSets = (cloud: SimulatedCloud) => {
  const clients = clientsOf(cloud);
  const waits = waitsOf(cloud, clients);
  return {
    ...{ cloud, clock: cloud.clock },
    ...clients,
    ...waits,
    ...resourcesOf(cloud, clients, waits.until),
    ...contentOf(clients),
    ...peopleOf(cloud, clients),
  };
};

type Clients = ReturnType<typeof clientsOf>;

const clientsOf = (cloud: SimulatedCloud) => {
  const admin = cloud.as(cloud.people.administrator);
  return {
    vault: admin.client('key-vault', KeyVaultServiceDefinition),
    sets: admin.client('disk-encryption-set', DiskEncryptionSetServiceDefinition),
    disks: admin.client('disk', DiskServiceDefinition),
    identity: admin.client('identity', IdentityServiceDefinition),
    compute: admin.client('compute', ComputeServiceDefinition),
    data: admin.client('disk', DiskDataServiceDefinition),
  };
};

/** What waits in virtual time for a state. */
const waitsOf = ({ clock }: SimulatedCloud, { compute, sets }: Clients) => {
  /** Retries while no response arrives: a caller outlives the services it calls. */
  const asked = async <Answer>(ask: () => Promise<Answer>): Promise<Answer> => {
    for (let attempt = 1; ; attempt++) {
      try {
        return await ask();
      } catch (error) {
        if (!(error instanceof RpcFailure) || attempt >= 10) throw error;
        await clock.sleep(500);
      }
    }
  };
  /** Waits in virtual time. @throws Error that names the condition, after two virtual minutes */
  const until = async (what: string, isSo: () => Promise<boolean>): Promise<void> => {
    for (const end = clock.monotonicMs() + 120_000; clock.monotonicMs() < end; await clock.sleep(20)) {
      if (await asked(isSo)) return;
    }
    throw new Error(`timed out waiting for ${what}`);
  };
  const powerOf = async (name: string): Promise<string> => (await compute.getVirtualMachine({ name })).powerState;
  return {
    asked,
    until,
    powerOf,
    untilPower: (name: string, wanted: string): Promise<void> =>
      until(`${name} is ${wanted}`, async () => (await powerOf(name)) === wanted),
    async untilSet(
      name: string,
      what: string,
      wanted: (set: DiskEncryptionSet) => boolean,
    ): Promise<DiskEncryptionSet> {
      await until(what, async () => wanted(await sets.getDiskEncryptionSet({ name })));
      return sets.getDiskEncryptionSet({ name });
    },
    /** Waits for the background work of requests. */
    settled: (): Promise<void> => clock.sleep(30_000),
  };
};

/** What creates vaults, keys, sets, disks and machines. */
const resourcesOf = (
  { people, random }: SimulatedCloud,
  { vault, sets, disks, compute }: Clients,
  until: ReturnType<typeof waitsOf>['until'],
) => {
  const grant = (name: string, set: DiskEncryptionSet) =>
    vault.setAccessPolicy({
      name,
      accessPolicy: { principal: set.identity?.principal ?? '', keyPermissions: [...setPermissionsOnWire] },
    });
  const setOf = (under: Under): string => (under === 'platform' ? '' : under.name);
  return {
    grant,
    async newDisk(id: string, under: Under, sku: DiskSku = 'PREMIUM_SSD'): Promise<string> {
      return (await disks.createDisk({ parent, location, ...newDisk({ id, sku, set: setOf(under) }) })).name;
    },
    async newVault(vaultId: string): Promise<string> {
      const accessPolicies = [{ principal: people.administrator.name, keyPermissions: ['ALL' as const] }];
      const permissionModel = 'ACCESS_POLICY';
      return (await vault.createVault({ vaultId, resourceGroup: parent, location, permissionModel, accessPolicies }))
        .name;
    },
    newKey: (vaultName: string, keyId: string) =>
      vault.createKey({ parent: vaultName, keyId, requestId: random.uuid() }),
    /** A set whose identity may use its key. */
    async newSet(diskEncryptionSetId: string, vaultName: string, keyUrl: string): Promise<DiskEncryptionSet> {
      const made = await sets.createDiskEncryptionSet({ parent, diskEncryptionSetId, location, keyUrl });
      await grant(vaultName, made);
      const isUsable = async () =>
        (await sets.getDiskEncryptionSet({ name: made.name })).keyAccess[0]?.state === 'AVAILABLE';
      await until('the set can use its key', isUsable);
      return made;
    },
    /** A running machine with an OS disk and data disks, each under the given key. */
    async newMachine(id: string, os: Under, ...data: readonly (readonly [Under, DiskSku])[]): Promise<string> {
      const planned = [
        { id: `${id}-os`, sku: 'PREMIUM_SSD' as const, set: setOf(os) },
        ...data.map(([under, sku], n) => ({ id: `${id}-data${n}`, sku, set: setOf(under) })),
      ];
      const request = { parent, virtualMachineId: id, location, ...newDisksOfMachine(planned), ultraSsdEnabled: true };
      const { name } = await compute.createVirtualMachine(request);
      await until(`${id} runs`, async () => (await compute.getVirtualMachine({ name })).powerState === 'RUNNING');
      return name;
    },
  };
};

/** What reads and writes disks through direct access. */
const contentOf = ({ disks, data: content }: Clients) => {
  /** The first bytes of a disk. */
  const dataOf = (name: string, token: string): DiskContent => {
    const metadata = new Metadata({ [accessTokenKey]: token });
    return {
      async write(data) {
        const pieces = async function* () {
          yield { header: { name, offsetBytes: 0 }, data: Buffer.from(data) };
        };
        await content.write(pieces(), { metadata });
      },
      async read(lengthBytes) {
        const pieces: Uint8Array[] = [];
        for await (const { data } of content.read({ name, offsetBytes: 0, lengthBytes }, { metadata }))
          pieces.push(data);
        return Buffer.concat(pieces);
      },
    };
  };
  return {
    dataOf,
    /** Reads or writes a disk through direct access, which ends afterwards. */
    async withAccess<Result>(name: string, work: (io: DiskContent) => Promise<Result>): Promise<Result> {
      const { accessToken } = await disks.beginAccess({ name, accessLevel: 'WRITE', durationSeconds: 600 });
      try {
        return await work(dataOf(name, accessToken));
      } finally {
        await disks.endAccess({ name });
      }
    },
  };
};

/** Tokens and users. */
const peopleOf = ({ people, random }: SimulatedCloud, { identity }: Clients) => ({
  /** A token for the vault; by default of the administrator, who has all rights on keys. */
  async ownerToken({ id: clientId, secret: clientSecret }: Secret = people.administrator): Promise<string> {
    return (await identity.issueToken({ clientId, clientSecret, audience: 'interlock:key-vault' })).accessToken;
  },
  /** A user with one role at one scope. */
  async newPerson(request: { readonly role: string; readonly scope: string }): Promise<Secret> {
    const id = random.uuid();
    const principal = await identity.createPrincipal({
      principalId: id,
      tenant: 'tenants/main',
      type: 'APPLICATION',
      displayName: 'a user',
    });
    const { secretText } = await identity.addSecret({ principal: principal.name, secretId: 'one' });
    await identity.createRoleAssignment({ roleAssignmentId: random.uuid(), principal: principal.name, ...request });
    return { id, secret: secretText };
  },
});
