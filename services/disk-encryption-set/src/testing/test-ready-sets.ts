import { randomUUID } from 'node:crypto';
import type { DiskEncryptionSet } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set.ts';
import { DiskEncryptionSetEvent } from '@interlock/contracts/interlock/disk_encryption_set/v1/disk_encryption_set_events.ts';
import { toFact } from '../published.ts';
import { resourceGroup, type SetCloud } from './test-set-cloud.ts';

/** A purge-protected vault whose keys the administrator may use. */
export const newVault = async (world: SetCloud, differences: { location?: string; resourceGroup?: string } = {}) => {
  const { name } = await world.keyVault.createVault({
    vaultId: `v${randomUUID().slice(0, 12)}`,
    resourceGroup,
    location: 'westeurope',
    permissionModel: 'ACCESS_POLICY',
    accessPolicies: [{ principal: world.administrator.name, keyPermissions: ['ALL'] }],
    purgeProtectionEnabled: true,
    ...differences,
  });
  return name;
};
export const newKey = async (world: SetCloud, parent: string) => {
  const keyId = `k${randomUUID().slice(0, 8)}`;
  const { name, keyUrl } = await world.keyVault.createKey({ parent, keyId, requestId: randomUUID() });
  return { name, keyUrl };
};
export const requestFor = (keyUrl: string) => ({
  parent: resourceGroup,
  diskEncryptionSetId: `d-${randomUUID().slice(0, 8)}`,
  location: 'West Europe',
  keyUrl,
});
export const principalOf = (set: DiskEncryptionSet): string => set.identity?.principal ?? '';
/** Gives the identity of a set what it needs (CMK-25). */
export const grant = (world: SetCloud, set: DiskEncryptionSet, vault: string) =>
  world.keyVault.setAccessPolicy({
    name: vault,
    accessPolicy: { principal: principalOf(set), keyPermissions: ['GET', 'WRAP_KEY', 'UNWRAP_KEY'] },
  });
export const accessOf = (set: DiskEncryptionSet, keyVersion: string) =>
  set.keyAccess.find((access) => access.keyVersion === keyVersion);
export const isAvailable = (keyVersion: string) => (set: DiskEncryptionSet) =>
  accessOf(set, keyVersion)?.state === 'AVAILABLE';
export const isLost = (keyVersion: string, reason: string) => (set: DiskEncryptionSet) =>
  accessOf(set, keyVersion)?.state === 'LOST' && accessOf(set, keyVersion)?.reason === reason;
export const isDone = ({ rotation }: DiskEncryptionSet) => rotation?.state === 'SUCCEEDED';
export const isWaiting = ({ rotation }: DiskEncryptionSet) => rotation?.state === 'WAITING';

/** A set whose identity may use its key, and the vault and key it has. */
export const readySet = async (world: SetCloud) => {
  const vault = await newVault(world);
  const key = await newKey(world, vault);
  const made = await world.sets.createDiskEncryptionSet(requestFor(key.keyUrl));
  await grant(world, made, vault);
  const set = await world.until(made.name, isAvailable(key.name));
  return { set, vault, key };
};
export const newDisk = async (world: SetCloud, set: DiskEncryptionSet): Promise<string> => {
  const name = `${resourceGroup}/disks/${randomUUID().slice(0, 8)}`;
  const keyVersion = set.activeKey?.keyVersion ?? '';
  await world.disks.create(name, { set: set.name, principal: principalOf(set), keyVersion });
  return name;
};
/**
 * The published facts of a set, in order. They are read from its stream: a page of the feed may end before a stored event while
 * the response to an earlier commit is on its way.
 */
export const publishedOf = async (world: SetCloud, set: string) =>
  (await world.store.read(`set-${set}`))
    .flatMap((recorded) => toFact(recorded) ?? [])
    .map(({ payload }) => DiskEncryptionSetEvent.decode(payload).event);
/** A token of the key owner for the vault. */
export const ownerToken = async (world: SetCloud) => {
  const { id: clientId, secret: clientSecret } = world.administrator;
  return (await world.identity.issueToken({ clientId, clientSecret, audience: 'interlock:key-vault' })).accessToken;
};
