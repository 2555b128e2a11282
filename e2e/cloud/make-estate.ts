import type { DiskSku, Encryption } from '@interlock/contracts/interlock/access/v1/access.ts';
import type { DiskForMachine } from '@interlock/contracts/interlock/compute/v1/virtual_machine.ts';
import type { EstateFile, EstateKey, EstateSet, EstateVault } from '@interlock/lab';
import type { Clock } from '@interlock/runtime';
import type { Clients } from './clients.ts';
import type { KeyPlace } from './key-state.ts';
import { grantOn } from './service-owner.ts';
import { until } from './until.ts';

/** Who makes an estate, and where. */
export interface EstatePlace {
  readonly clients: Pick<Clients, 'identity' | 'keyVault' | 'sets'>;
  readonly clock: Pick<Clock, 'now' | 'monotonicMs' | 'sleep'>;
  readonly uuid: () => string;
  /** `subscriptions/<s>/resourceGroups/<g>` */
  readonly resourceGroup: string;
  /** `principals/<uuid>` of the owner of the keys, who gets all permissions on vaults with access policies. */
  readonly owner: string;
  readonly purgeProtectionEnabled?: boolean;
  /** A private key to import in place of generated keys, in PEM. */
  readonly keyPem?: string | undefined;
  /** Carries out each call; default: once. */
  readonly call?: <Result>(work: () => Promise<Result>) => Promise<Result>;
}

/** A key of an estate, with the set that may use it. */
export interface MadeKey extends KeyPlace {
  readonly keyVersion: string;
  /** `principals/<uuid>` of the set's managed identity. */
  readonly principal: string;
}

/** Vaults with their keys, and the sets under them. */
export type EstateKeys = Pick<EstateFile, 'location' | 'vaults' | 'sets'>;

const once: NonNullable<EstatePlace['call']> = (work) => work();

/**
 * Makes vaults, keys and sets, and grants each set what it needs on its vault. Not used by the rehearsal, which proves each of these
 * steps, by the table of authorization for its vaults, whose policies are its subject, and by the simulation's tests of sets, which
 * work with sets without a grant.
 * @returns by the name of the set
 */
export const makeKeys = async (place: EstatePlace, estate: EstateKeys): Promise<ReadonlyMap<string, MadeKey>> => {
  const urls = new Map<string, { readonly name: string; readonly keyUrl: string }>();
  await Promise.all(
    estate.vaults.map(async (vault) => {
      await makeVault(place, estate.location, vault);
      for (const key of vault.keys) urls.set(`${vault.name}/${key.name}`, await makeKey(place, vault, key));
    }),
  );
  const made = estate.sets.map(async (set): Promise<readonly [string, MadeKey]> => {
    const version = urls.get(set.key);
    const vault = estate.vaults.find(({ name }) => set.key.startsWith(`${name}/`));
    if (version === undefined || vault === undefined) throw new Error(`the estate has no key ${set.key}`);
    return [set.name, await makeSet(place, estate.location, set, { vault, ...version })];
  });
  return new Map(await Promise.all(made));
};

const makeVault = (
  { clients, resourceGroup, owner, purgeProtectionEnabled, call = once }: EstatePlace,
  location: string,
  { name, permissions }: EstateVault,
): Promise<unknown> =>
  call(() =>
    clients.keyVault.createVault({
      vaultId: name,
      resourceGroup,
      location,
      permissionModel: permissions === 'roles' ? 'ROLE_ASSIGNMENT' : 'ACCESS_POLICY',
      accessPolicies: [{ principal: owner, keyPermissions: ['ALL'] }],
      softDeleteRetentionDays: 7,
      ...(purgeProtectionEnabled === undefined ? {} : { purgeProtectionEnabled }),
    }),
  );

const makeKey = (
  { clients: { keyVault }, uuid, keyPem, call = once }: EstatePlace,
  vault: EstateVault,
  { name: keyId, bits = 2048 }: EstateKey,
) => {
  const newKey = { parent: `vaults/${vault.name}`, keyId, requestId: uuid() };
  return call(() =>
    keyPem === undefined
      ? keyVault.createKey({ ...newKey, keySizeBits: bits })
      : keyVault.importKey({ ...newKey, keyMaterial: { $case: 'pem', value: keyPem } }),
  );
};

/** Makes a set under a key version of a vault, and grants it what it needs there. */
export const makeSet = async (
  place: EstatePlace,
  location: string,
  { name: diskEncryptionSetId, keyExpiry, autoRestart, autoKeyRotation }: Omit<EstateSet, 'key'>,
  { vault, name: keyVersion, keyUrl }: { readonly vault: EstateVault; readonly name: string; readonly keyUrl: string },
): Promise<MadeKey> => {
  const { clients, clock, uuid, resourceGroup, call = once } = place;
  const { name: set } = await call(() =>
    clients.sets.createDiskEncryptionSet({
      parent: resourceGroup,
      diskEncryptionSetId,
      location,
      keyUrl,
      ...(keyExpiry === undefined ? {} : { keyExpiry: 'NEXT_START' }),
      ...(autoRestart === undefined ? {} : { autoRestart }),
      ...(autoKeyRotation === undefined ? {} : { autoKeyRotationEnabled: autoKeyRotation }),
    }),
  );
  const look = async (): Promise<string | false> => {
    const { provisioningState, identity } = await clients.sets.getDiskEncryptionSet({ name: set });
    return provisioningState === 'SUCCEEDED' && (identity?.principal ?? false);
  };
  const principal = await until(`the set ${set} is made`, look, undefined, clock);
  const [key = ''] = keyVersion.split('/versions/');
  const keyPlace = { resourceGroup, vault: `vaults/${vault.name}`, key, set };
  const caller = { clients, now: clock.now, ownerToken: () => Promise.reject(new Error('no key is assigned')) };
  const on = {
    place: keyPlace,
    permissionModel: vault.permissions === 'roles' ? 'ROLE_ASSIGNMENT' : 'ACCESS_POLICY',
  } as const;
  const ids = [uuid()];
  await call(() => grantOn(caller, ids, principal, on));
  return { ...keyPlace, keyVersion, principal };
};

/** A disk of one GiB to make. `set`: full name of its set; empty: under a key of the platform. */
export interface NewDiskPlan {
  readonly id: string;
  readonly sku: DiskSku;
  readonly set: string;
}

/** The encryption of a disk, for requests. @param set full name; empty: under a key of the platform */
export const encryptionUnder = (set: string): Encryption =>
  set === ''
    ? { type: 'ENCRYPTION_AT_REST_WITH_PLATFORM_KEY', diskEncryptionSet: '' }
    : { type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: set };

/** A disk as requests for new disks have it. */
export const newDisk = ({ id: diskId, sku, set }: NewDiskPlan) => ({
  diskId,
  sku,
  sizeGib: 1,
  encryption: encryptionUnder(set),
});

/** New disks of a machine, for its creation. The first is the OS disk. @throws Error without a disk */
export const newDisksOfMachine = (disks: readonly NewDiskPlan[]) => {
  const [osDisk, ...dataDisks] = disks.map(
    (disk, n): DiskForMachine => ({
      source: { $case: 'newDisk', value: newDisk(disk) },
      lun: Math.max(0, n - 1),
      deleteWithVm: false,
    }),
  );
  if (osDisk === undefined) throw new Error('a machine needs an OS disk: its list of disks is empty');
  return { osDisk, dataDisks, ultraSsdEnabled: disks.some(({ sku }) => sku === 'ULTRA') };
};
