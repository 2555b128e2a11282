import {
  BeginGenerationResponse,
  type DeepPartial,
  EncryptedResource,
  type RewrapDeksRequest,
} from '@interlock/contracts/interlock/disk/v1/key_change.ts';
import type { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import type { KeyVaultServiceDefinition } from '@interlock/contracts/interlock/key_vault/v1/key_vault.ts';
import { Rejection } from '@interlock/event-store';
import { type RpcClient, settleItems } from '@interlock/rpc';
import { logger, systemClock } from '@interlock/runtime';
import type { Disks } from '../sets.ts';

/** A disk that is nothing but its wrapped data key. */
export interface WrappedDisk {
  readonly set: string;
  readonly principal: string;
  keyVersion: string;
  wrappedKey: Uint8Array;
  generation: number;
}

/** A disk service without data: it stores wrapped keys in memory and calls a real vault, as the identities of sets. */
export interface VaultDisks extends Disks {
  readonly stock: Map<string, WrappedDisk>;
  /** Makes a disk under a set, wrapped by the real vault. */
  create(
    name: string,
    of: { readonly set: string; readonly principal: string; readonly keyVersion: string },
  ): Promise<void>;
  /** Unwraps the key of a disk. @throws Rejection of the vault */
  open(name: string): Promise<Uint8Array>;
}

const algorithm = 'RSA_OAEP_256';
const log = logger({ service: 'disk', clock: systemClock, write: () => undefined });

/** Clients of the disk service, which is the only service that may act as the identity of a set. */
export interface SeenByDisk {
  readonly identity: RpcClient<typeof IdentityServiceDefinition>;
  readonly keyVault: RpcClient<typeof KeyVaultServiceDefinition>;
}

/** @param seen called for each use, because these services do not exist yet when the disks are created */
export const vaultDisks = (seen: () => SeenByDisk): VaultDisks => {
  const stock = new Map<string, WrappedDisk>();
  const generations = new Map<string, number>();
  /** By set, the identity for calls of the vault: that of the newest generation. */
  const principals = new Map<string, string>();
  const as = async (principal: string): Promise<{ token: string }> => {
    const audience = 'interlock:key-vault';
    return { token: (await seen().identity.issueManagedIdentityToken({ principal, audience })).accessToken };
  };
  const existing = (name: string): WrappedDisk => {
    const disk = stock.get(name);
    if (!disk) throw new Rejection('NOT_FOUND', 'DISK_NOT_FOUND', name);
    return disk;
  };

  const rewrapOne = async (
    name: string,
    { targetKeyVersion = '', generation = 0 }: Omit<DeepPartial<RewrapDeksRequest>, 'names'>,
  ): Promise<EncryptedResource> => {
    const disk = existing(name);
    const { keyVersion: sourceKeyVersion, set: diskEncryptionSet } = disk;
    if (sourceKeyVersion === targetKeyVersion) {
      disk.generation = generation;
      return EncryptedResource.fromPartial({ name, keyVersion: targetKeyVersion, generation });
    }
    const principal = principals.get(diskEncryptionSet) ?? disk.principal;
    const { wrappedKey } = await seen().keyVault.rewrap(
      {
        sourceKeyVersion,
        targetKeyVersion,
        wrappedKey: Buffer.from(disk.wrappedKey),
        algorithm,
        diskEncryptionSet,
        resource: name,
      },
      await as(principal),
    );
    Object.assign(disk, { keyVersion: targetKeyVersion, wrappedKey, generation });
    return EncryptedResource.fromPartial({ name, keyVersion: targetKeyVersion, generation });
  };

  return {
    stock,
    async create(name, { set, principal, keyVersion }) {
      const plaintextKey = Buffer.alloc(32, stock.size + 1);
      const request = { name: keyVersion, algorithm, plaintextKey, resource: name } as const;
      const { wrappedKey } = await seen().keyVault.wrapKey(request, await as(principal));
      stock.set(name, { set, principal, keyVersion, wrappedKey, generation: generations.get(set) ?? 1 });
    },
    async open(name) {
      const { keyVersion, wrappedKey, principal } = existing(name);
      const asked = { name: keyVersion, algorithm, wrappedKey: Buffer.from(wrappedKey) } as const;
      return (await seen().keyVault.unwrapKey(asked, await as(principal))).plaintextKey;
    },
    checkKeyAccess: async ({
      keyVersion = '',
      principal = '',
      diskEncryptionSet: resource = '',
      allowExpired = false,
    }) => seen().keyVault.checkAccess({ keyVersion, resource, allowExpired }, await as(principal)),
    async beginGeneration({ diskEncryptionSet = '', generation = 0, principal = '' }) {
      if (generation >= (generations.get(diskEncryptionSet) ?? 0)) principals.set(diskEncryptionSet, principal);
      generations.set(diskEncryptionSet, Math.max(generation, generations.get(diskEncryptionSet) ?? 0));
      return BeginGenerationResponse.fromPartial({ generation: generations.get(diskEncryptionSet) ?? 0 });
    },
    async listEncryptedResources({ diskEncryptionSet, belowGeneration = 0 }) {
      const resources = [...stock]
        .filter(([, disk]) => disk.set === diskEncryptionSet)
        .filter(([, { generation }]) => belowGeneration === 0 || generation < belowGeneration)
        .map(([name, { keyVersion, generation }]) => EncryptedResource.fromPartial({ name, keyVersion, generation }));
      return { resources, nextPageToken: '' };
    },
    async rewrapDeks({ names = [], ...target }) {
      const outcomes = await settleItems(names, { sizeMax: 256, log }, (name) => rewrapOne(name, target));
      return {
        outcomes: outcomes.map((outcome) => ({
          outcome:
            'answer' in outcome
              ? { $case: 'moved', value: outcome.answer }
              : { $case: 'refused', value: { ...outcome.refused } },
          event: '',
        })),
      };
    },
  };
};
