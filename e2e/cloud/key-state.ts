import type { KeyVersion_Operation } from '@interlock/contracts/interlock/key_vault/v1/key_version.ts';
import type { AccessPolicy_KeyPermission, NetworkRules } from '@interlock/contracts/interlock/key_vault/v1/vault.ts';
import type { Workload } from '@interlock/rpc';
import type { Clients } from './clients.ts';

/** Services that key actions call, as the owner of the keys. */
export type KeyClients = Pick<Clients, 'identity' | 'keyVault' | 'sets'>;

/** The place of an experiment's key, with full names. */
export interface KeyPlace {
  /** `subscriptions/<s>/resourceGroups/<g>` of its vault. */
  readonly resourceGroup: string;
  /** `vaults/<v>` */
  readonly vault: string;
  /** `vaults/<v>/keys/<k>` */
  readonly key: string;
  /** The disk encryption set under it. */
  readonly set: string;
}

/** A role of the set's identity on the vault. */
export interface HeldRole {
  /** `roleAssignments/<uuid>` */
  readonly name: string;
  readonly role: string;
  readonly scope: string;
}

/**
 * A key and its permissions before an action. Plain JSON: the journal keeps it, and an undo restores it.
 * Dates in milliseconds since the epoch.
 */
export interface KeyState {
  readonly place: KeyPlace;
  /** The version that the set assigns to disks. */
  readonly keyVersion: string;
  readonly keyUrl: string;
  /** Every version that disks of the set may be under, the newest first. */
  readonly keyVersions: readonly string[];
  readonly notBeforeMs?: number;
  readonly expireMs?: number;
  /** The operations that the version allows. */
  readonly operations: readonly KeyVersion_Operation[];
  readonly permissionModel: 'ACCESS_POLICY' | 'ROLE_ASSIGNMENT';
  readonly networkRules: NetworkRules;
  /** Of the vault: another one shows that the vault was changed, or deleted and recovered. */
  readonly vaultEtag: string;
  /** `principals/<uuid>` of the set's identity; empty if it has none. */
  readonly principal: string;
  /** The permissions in the access policy of that identity; empty without a policy. */
  readonly permissions: readonly AccessPolicy_KeyPermission[];
  readonly roles: readonly HeldRole[];
}

/** The role with the permissions that the identity of a set needs (CMK-26). */
export const encryptionRole = 'roles/keyVaultCryptoServiceEncryptionUser';

/** The network rules of a vault that has none. */
export const openToAll: NetworkRules = {
  defaultAction: 'ALLOW',
  bypassTrustedServices: true,
  ipRules: [],
  publicAccessDisabled: false,
};

/** The rules of a vault that is closed to every network, and to trusted services. */
export const closedToAll: NetworkRules = { ...openToAll, defaultAction: 'DENY', bypassTrustedServices: false };

/** The commit that shows that an action took effect: the first event of these types on a stream, after the invocation. */
export interface EffectEvent {
  readonly service: Workload;
  readonly stream: string;
  readonly types: readonly string[];
}

/**
 * Reads the state of a key. Call it when the estate is ready: during a fault the services that it calls may not respond.
 * @throws RpcFailure or Rejection of a service
 */
export const readKeyState = async (clients: KeyClients, place: KeyPlace): Promise<KeyState> => {
  const { identity, keyVault, sets } = clients;
  const set = await sets.getDiskEncryptionSet({ name: place.set });
  const keyVersion = set.activeKey?.keyVersion ?? '';
  const principal = set.identity?.principal ?? '';
  const [vault, version, { roleAssignments }] = await Promise.all([
    keyVault.getVault({ name: place.vault }),
    keyVault.getKeyVersion({ name: keyVersion }),
    principal === '' ? { roleAssignments: [] } : identity.listRoleAssignments({ principal }),
  ]);
  const policy = vault.accessPolicies.find((one) => one.principal === principal);
  return {
    place,
    keyVersion,
    keyUrl: version.keyUrl,
    keyVersions: [keyVersion, ...set.previousKeys.map((one) => one.keyVersion)],
    ...(version.notBefore === undefined ? {} : { notBeforeMs: version.notBefore.getTime() }),
    ...(version.expireTime === undefined ? {} : { expireMs: version.expireTime.getTime() }),
    operations: version.keyOperations,
    networkRules: vault.networkRules ?? openToAll,
    vaultEtag: vault.etag,
    permissionModel: vault.permissionModel === 'ROLE_ASSIGNMENT' ? 'ROLE_ASSIGNMENT' : 'ACCESS_POLICY',
    principal,
    permissions: policy?.keyPermissions ?? [],
    roles: roleAssignments.map(({ name, role, scope }) => ({ name, role, scope })),
  };
};
