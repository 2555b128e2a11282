import { randomUUID } from 'node:crypto';
import type { OpenDiskResponse } from '@interlock/contracts/interlock/disk/v1/attachment.ts';
import type { DiskDataServiceDefinition, DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import type { CreateDiskRequest, Disk } from '@interlock/contracts/interlock/disk/v1/managed_disk.ts';
import type { DiskEncryptionSetServiceDefinition } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import type { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import type { KeyVaultServiceDefinition } from '@interlock/contracts/interlock/key_vault/v1/key_vault.ts';
import type { RpcClient } from '@interlock/rpc';
import { Metadata } from 'nice-grpc';
import { accessTokenKey } from '../host/data/access-token.ts';
import { openDisk } from './test-one-disk.ts';

export const resourceGroup = 'subscriptions/s1/resourceGroups/g';
export const location = 'westeurope';

/** Deadline of a copy of a whole disk on a busy machine, in ms. */
export const copyMs = 60_000;

/** Clients of the services. */
export interface CloudClients {
  /** As the administrator, who owns every key. */
  readonly disks: RpcClient<typeof DiskServiceDefinition>;
  readonly data: RpcClient<typeof DiskDataServiceDefinition>;
  readonly vault: RpcClient<typeof KeyVaultServiceDefinition>;
  readonly sets: RpcClient<typeof DiskEncryptionSetServiceDefinition>;
  readonly identity: RpcClient<typeof IdentityServiceDefinition>;
  /** Clients of the disk service as compute and as the sets. */
  readonly compute: RpcClient<typeof DiskServiceDefinition>;
  readonly setsWorkload: RpcClient<typeof DiskServiceDefinition>;
}

/** A key version and the set over it. */
export interface TestSet {
  readonly name: string;
  readonly principal: string;
  readonly vault: string;
  readonly keyVersion: string;
  readonly keyUrl: string;
}

/** Creates keys, sets and disks. */
export interface CloudDisks {
  /** A set over a key in a vault of its own. */
  newSet(requested?: {
    readonly isDouble?: boolean;
    readonly withoutGrant?: boolean;
    readonly location?: string;
    readonly spread?: boolean;
  }): Promise<TestSet>;
  newKey(vault: string): Promise<{ readonly keyVersion: string; readonly keyUrl: string }>;
  newDisk(requested?: Partial<CreateDiskRequest> & { readonly set?: TestSet }): Promise<Disk>;
  /** Attaches a disk to a machine of its own and opens it. */
  openNew(name: string, virtualMachine?: string): Promise<OpenDiskResponse & { readonly virtualMachine: string }>;
}

/** Reads and writes disks with the access token of an open or of direct access. */
export interface DiskContent {
  write(name: string, token: string, offset: number, ...pieces: readonly Uint8Array[]): Promise<number>;
  read(name: string, token: string, offset: number, length: number): Promise<Buffer>;
  flush(name: string, token: string): Promise<void>;
}

/** @param owner name of the principal that has every right on the keys */
export const cloudDisks = ({ vault, sets, disks, compute }: CloudClients, owner: string): CloudDisks => {
  const newVault = async (at: string): Promise<string> => {
    const { name } = await vault.createVault({
      vaultId: `v${randomUUID().slice(0, 12)}`,
      resourceGroup,
      location: at,
      permissionModel: 'ACCESS_POLICY',
      accessPolicies: [{ principal: owner, keyPermissions: ['ALL'] }],
    });
    return name;
  };
  const newKey: CloudDisks['newKey'] = async (parent) => {
    const key = await vault.createKey({ parent, keyId: `k${randomUUID().slice(0, 8)}`, requestId: randomUUID() });
    return { keyVersion: key.name, keyUrl: key.keyUrl };
  };
  return {
    newKey,
    async newSet({ isDouble = false, withoutGrant = false, location: at = location, spread = false } = {}) {
      const vaultName = await newVault(at);
      const { keyVersion, keyUrl } = await newKey(vaultName);
      const { name, identity } = await sets.createDiskEncryptionSet({
        parent: resourceGroup,
        diskEncryptionSetId: `des-${randomUUID().slice(0, 8)}`,
        location: at,
        keyUrl,
        spread,
        ...(isDouble ? { encryptionType: 'ENCRYPTION_AT_REST_WITH_PLATFORM_AND_CUSTOMER_KEYS' } : {}),
      });
      const principal = identity?.principal ?? '';
      const accessPolicy = { principal, keyPermissions: ['GET' as const, 'WRAP_KEY' as const, 'UNWRAP_KEY' as const] };
      if (!withoutGrant) await vault.setAccessPolicy({ name: vaultName, accessPolicy });
      return { name, principal, vault: vaultName, keyVersion, keyUrl };
    },
    newDisk: ({ set, ...requested } = {}) =>
      disks.createDisk(
        {
          parent: resourceGroup,
          diskId: `d-${randomUUID().slice(0, 8)}`,
          location,
          sku: 'PREMIUM_SSD',
          sizeGib: 1,
          ...(set ? { encryption: { type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: set.name } } : {}),
          ...requested,
        },
        { deadlineMs: copyMs },
      ),
    async openNew(name, virtualMachine = `${resourceGroup}/virtualMachines/vm-${randomUUID().slice(0, 8)}`) {
      await compute.attachDisk({ name, virtualMachine, requestId: randomUUID() });
      return { ...(await openDisk(compute, { name, virtualMachine })), virtualMachine };
    },
  };
};

/** Reads and writes through `DiskDataService`. */
export const diskContent = (data: CloudClients['data']): DiskContent => {
  const withToken = (token: string) => ({ metadata: new Metadata({ [accessTokenKey]: token }) });
  return {
    async write(name, token, offset, ...pieces) {
      async function* requests() {
        for (const [n, piece] of pieces.entries()) {
          yield { ...(n === 0 ? { header: { name, offsetBytes: offset } } : {}), data: Buffer.from(piece) };
        }
      }
      return (await data.write(requests(), withToken(token))).writtenBytes;
    },
    async read(name, token, offset, length) {
      const pieces: Buffer[] = [];
      const request = { name, offsetBytes: offset, lengthBytes: length };
      for await (const { data: piece } of data.read(request, withToken(token))) pieces.push(Buffer.from(piece));
      return Buffer.concat(pieces);
    },
    async flush(name, token) {
      await data.flush({ name }, withToken(token));
    },
  };
};
