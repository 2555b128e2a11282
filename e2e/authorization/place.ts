import { randomUUID } from 'node:crypto';
import type { KeyVersion } from '@interlock/contracts/interlock/key_vault/v1/key_version.ts';
import { systemClock } from '@interlock/runtime';
import type { Clients, Credentials } from '../cloud/clients.ts';
import { makeSet } from '../cloud/make-estate.ts';
import { location, makeMachine } from '../cloud/world.ts';
import { idIn, type Names, type VaultNames } from './names.ts';
import type { Policy } from './who.ts';

/** A vault and the versions of its keys. */
export interface VaultPlace extends VaultNames {
  readonly keyVersion: string;
  /** The same version as sets name it. */
  readonly keyUrl: string;
  readonly targetKeyVersion: string;
  readonly disabledKeyVersion: string;
  readonly deletedKeyVersion: string;
}

/** The resources that the requests of the table name. */
export interface Place extends Names {
  readonly administrator: Credentials;
  readonly policyVault: VaultPlace;
  readonly roleVault: VaultPlace;
  /** Managed identity of the set. */
  readonly identity: string;
  /** An application of the tenant that holds `roleAssignment` and calls nothing. */
  readonly principal: string;
  /** As whom a service of the platform acts. */
  readonly servicePrincipal: string;
  /** Role of `principal` on the group. */
  readonly roleAssignment: string;
  /** Access tokens of direct access to `disk` and `readOnlyDisk`. */
  readonly diskAccess: {
    readonly current: string;
    readonly ended: string;
    readonly readOnly: string;
    readonly ofAnotherDisk: string;
  };
}

/** Access policies by principal (`principals/<uuid>`), for the creation of the vaults. */
export type PoliciesOf = ReadonlyMap<string, readonly Policy[]>;

/** Principals that existed before. */
export type Given = Pick<Place, 'administrator' | 'servicePrincipal'>;

/** Creates everything that `names` names, as the administrator. */
export const makePlace = async (clients: Clients, given: Given, names: Names, policies: PoliciesOf): Promise<Place> => {
  const { administrator } = given;
  const [policyVault, roleVault, { principal, roleAssignment }, diskAccess] = await Promise.all([
    makeVault(clients, administrator, names, 'policyVault', policies),
    makeVault(clients, administrator, names, 'roleVault', policies),
    makeManaged(clients, names),
    makeDisks(clients, names),
  ]);
  const { usedGroup: resourceGroup, set } = names;
  const estate = { clients, clock: systemClock, uuid: randomUUID, resourceGroup, owner: administrator.id };
  const key = {
    vault: { name: idIn(policyVault.vault), keys: [] },
    name: policyVault.keyVersion,
    keyUrl: policyVault.keyUrl,
  };
  const [{ principal: identity }] = await Promise.all([
    makeSet(estate, location, { name: idIn(set) }, key),
    makeMachine(clients, names, idIn(names.idleMachine), ['platform']),
  ]);
  return {
    ...names,
    ...given,
    policyVault,
    roleVault,
    principal,
    roleAssignment,
    identity,
    diskAccess,
  };
};

const makeVault = async (
  { keyVault }: Clients,
  administrator: Credentials,
  names: Names,
  which: Policy['vault'],
  policies: PoliciesOf,
): Promise<VaultPlace> => {
  const { vault, key, targetKey, disabledKey, deletedKey } = names[which];
  const own: [string, readonly Policy[]] = [`principals/${administrator.id}`, [{ vault: which, permissions: ['ALL'] }]];
  await keyVault.createVault({
    vaultId: idIn(vault),
    resourceGroup: names.group,
    location,
    permissionModel: which === 'policyVault' ? 'ACCESS_POLICY' : 'ROLE_ASSIGNMENT',
    accessPolicies: [...policies, own].flatMap(([principal, held]) =>
      held
        .filter((policy) => policy.vault === which)
        .map(({ permissions }) => ({ principal, keyPermissions: [...permissions] })),
    ),
    softDeleteRetentionDays: 7,
    purgeProtectionEnabled: true,
  });
  const make = (name: string, isEnabled: boolean): Promise<KeyVersion> =>
    keyVault.createKey({
      parent: vault,
      keyId: idIn(name),
      attributes: { enabled: isEnabled },
      requestId: randomUUID(),
    });
  const [made, target, disabled, deleted] = await Promise.all([
    make(key, true),
    make(targetKey, true),
    make(disabledKey, false),
    make(deletedKey, true),
  ]);
  await keyVault.deleteKey({ name: deletedKey });
  return {
    ...names[which],
    keyVersion: made.name,
    keyUrl: made.keyUrl,
    targetKeyVersion: target.name,
    disabledKeyVersion: disabled.name,
    deletedKeyVersion: deleted.name,
  };
};

const makeManaged = async ({ identity }: Clients, { tenant, group }: Names) => {
  const { name: principal } = await identity.createPrincipal({
    principalId: randomUUID(),
    tenant,
    type: 'APPLICATION',
    displayName: 'managed by the cells',
  });
  const { name: roleAssignment } = await identity.createRoleAssignment({
    roleAssignmentId: randomUUID(),
    principal,
    role: 'roles/reader',
    scope: group,
  });
  return { principal, roleAssignment };
};

const makeDisks = async ({ disks }: Clients, { group, disk, readOnlyDisk }: Names): Promise<Place['diskAccess']> => {
  for (const name of [disk, readOnlyDisk]) {
    await disks.createDisk({ parent: group, diskId: idIn(name), location, sku: 'PREMIUM_SSD', sizeGib: 1 });
  }
  const begin = async (name: string, accessLevel: 'READ' | 'WRITE'): Promise<string> =>
    (await disks.beginAccess({ name, accessLevel, durationSeconds: 3_600 })).accessToken;
  const ended = await begin(disk, 'WRITE');
  // As often as for the first disk, so that only the disk is wrong about its token there.
  await begin(readOnlyDisk, 'READ');
  const readOnly = await begin(readOnlyDisk, 'READ');
  return { ended, current: await begin(disk, 'WRITE'), readOnly, ofAnotherDisk: readOnly };
};
