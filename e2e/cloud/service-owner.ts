import { setPermissionsOnWire } from '@interlock/access/permissions';
import type { AccessOwner, Choice } from '@interlock/lab';
import {
  closedToAll,
  type EffectEvent,
  encryptionRole,
  type HeldRole,
  type KeyClients,
  type KeyState,
} from './key-state.ts';

/** The caller of actions on keys, with its sources of time and randomness. */
export interface KeyOwner {
  readonly clients: KeyClients;
  /** Wall clock of key-vault, to which dates of keys refer, in milliseconds since the epoch. */
  readonly now: () => number;
  /** Access token of an owner of every key, for key-vault: a set needs it to leave a version that cannot be used. */
  readonly ownerToken: () => Promise<string>;
}

/** The effect of a call. */
export interface CallEffect {
  /** When it takes effect, in milliseconds since the epoch, if a date decides that. */
  readonly effectMs?: number;
  /** The commit that decides it otherwise; absent if there was nothing to do. */
  readonly event?: EffectEvent;
  /** When the owner decided it, in milliseconds since the epoch, if the response has that. */
  readonly decidedMs?: number;
}

/** Commits that decide about a key. */
export const events = {
  ofKey: ({ place }: KeyState, ...types: readonly string[]): EffectEvent => ({
    service: 'key-vault',
    stream: `key-${place.key}`,
    types,
  }),
  ofVault: ({ place }: Pick<KeyState, 'place'>, ...types: readonly string[]): EffectEvent => ({
    service: 'key-vault',
    stream: place.vault.replace('vaults/', 'vault-'),
    types,
  }),
  ofSet: ({ place }: KeyState, ...types: readonly string[]): EffectEvent => ({
    service: 'disk-encryption-set',
    stream: `set-${place.set}`,
    types,
  }),
  /** @param name `principals/<uuid>` */
  ofPrincipal: (name: string, ...types: readonly string[]): EffectEvent => ({
    service: 'identity',
    stream: name.replace('principals/', 'principal-'),
    types,
  }),
  /** @param name `roleAssignments/<uuid>` */
  ofRole: (name: string, ...types: readonly string[]): EffectEvent => ({
    service: 'identity',
    stream: name.replace('roleAssignments/', 'role_assignment-'),
    types,
  }),
};

const dayMs = 86_400_000;

/** Permissions of a policy, and operations of a version, as the API names them. */
const permissionOf = { get: 'GET', wrap: 'WRAP_KEY', unwrap: 'UNWRAP_KEY' } as const satisfies Record<Choice, string>;

const dateOf = (ms: number | undefined): Date | undefined => (ms === undefined ? undefined : new Date(ms));

/** The assignments that give a principal these roles now, under whatever ids. */
const holdersOf = async (
  { clients }: KeyOwner,
  principal: string,
  roles: readonly Pick<HeldRole, 'role' | 'scope'>[],
) => {
  const { roleAssignments } = await clients.identity.listRoleAssignments({ principal });
  return roleAssignments.filter((held) => roles.some(({ role, scope }) => held.role === role && held.scope === scope));
};

/** Assigns roles to a principal, except those that it has, so a repeated undo makes no second assignment. */
const assignRoles = async (
  owner: KeyOwner,
  ids: readonly string[],
  principal: string,
  roles: readonly Pick<HeldRole, 'role' | 'scope'>[],
): Promise<CallEffect> => {
  if (roles.length === 0) return {};
  const held = await holdersOf(owner, principal, roles);
  const missing = roles.filter(({ role, scope }) => !held.some((one) => one.role === role && one.scope === scope));
  let event: EffectEvent | undefined;
  for (const [n, { role, scope }] of missing.entries()) {
    const roleAssignmentId = ids[n] ?? '';
    await owner.clients.identity.createRoleAssignment({ roleAssignmentId, principal, role, scope });
    event = events.ofRole(`roleAssignments/${roleAssignmentId}`, 'RoleAssigned');
  }
  return event === undefined ? {} : { event };
};

/** Gives the set's identity the permissions that it needs on the vault (CMK-05). */
export const allowSet = (clients: Pick<KeyClients, 'keyVault'>, vault: string, identity: string) =>
  clients.keyVault.setAccessPolicy({
    name: vault,
    accessPolicy: { principal: identity, keyPermissions: [...setPermissionsOnWire] },
  });

/**
 * Gives an identity the permissions that it needs on the vault of a key, by the vault's permission model.
 * @param ids UUIDs for role assignments
 */
export const grantOn = async (
  owner: KeyOwner,
  ids: readonly string[],
  principal: string,
  on: Pick<KeyState, 'place' | 'permissionModel'>,
): Promise<CallEffect> => {
  const { vault, resourceGroup } = on.place;
  if (on.permissionModel === 'ROLE_ASSIGNMENT')
    return assignRoles(owner, ids, principal, [{ role: encryptionRole, scope: `${resourceGroup}/${vault}` }]);
  await allowSet(owner.clients, vault, principal);
  return { event: events.ofVault(on, 'AccessPolicySet') };
};

/**
 * The calls of the services that end access to a key, and that restore the recorded state. Repeating a call has no further effect.
 * @param key its state before @param ids UUIDs: one for each role assignment that a call makes
 */
export const serviceOwner = (owner: KeyOwner, key: KeyState, ids: readonly string[]): AccessOwner<CallEffect> => ({
  ...keyCalls(owner, key),
  ...vaultCalls(owner, key),
  ...roleCalls(owner, key, ids),
  ...grantCalls(owner, key, ids),
});

type KeyCalls =
  | 'disableVersion'
  | 'enableVersion'
  | 'disableKey'
  | 'enableKey'
  | 'expire'
  | 'postpone'
  | 'restoreDates'
  | 'deleteKey'
  | 'recoverKey'
  | 'purgeKey'
  | 'removeOperation'
  | 'restoreOperations';
type VaultCalls = 'deleteVault' | 'recoverVault' | 'switchModel' | 'restoreModel' | 'closeNetwork' | 'openNetwork';
type RoleCalls = 'removeRoles' | 'restoreRoles' | 'replaceRoles';
type GrantCalls = Exclude<keyof AccessOwner<CallEffect>, KeyCalls | VaultCalls | RoleCalls>;

/** A response that may have the time of a change. */
interface Decided {
  readonly deleteTime?: Date | undefined;
  readonly updateTime?: Date | undefined;
}

const keyCalls = ({ clients: { keyVault }, now }: KeyOwner, key: KeyState): Pick<AccessOwner<CallEffect>, KeyCalls> => {
  const { keyVersion, place, operations } = key;
  const version = { name: keyVersion };
  const whole = { name: place.key };
  const confirmed = { ...whole, confirmName: place.key };
  const setDates = async ({ notBeforeMs, expireMs }: Pick<KeyState, 'notBeforeMs' | 'expireMs'>) => {
    await keyVault.setKeyVersionDates({ ...version, notBefore: dateOf(notBeforeMs), expireTime: dateOf(expireMs) });
    return { event: events.ofKey(key, 'KeyVersionDatesSet') };
  };
  const setOperations = async (keyOperations: KeyState['operations']) => {
    await keyVault.setKeyOperations({ ...version, keyOperations: [...keyOperations] });
    return { event: events.ofKey(key, 'KeyOperationsSet') };
  };
  const showing = async (call: Promise<object>, type: string): Promise<CallEffect> => {
    const { deleteTime, updateTime }: Decided = await call;
    const decidedMs = (deleteTime ?? updateTime)?.getTime();
    return { event: events.ofKey(key, type), ...(decidedMs === undefined ? {} : { decidedMs }) };
  };
  return {
    disableVersion: () => showing(keyVault.disableKeyVersion(version), 'KeyVersionDisabled'),
    enableVersion: () => showing(keyVault.enableKeyVersion(version), 'KeyVersionEnabled'),
    disableKey: () => showing(keyVault.disableKey(whole), 'KeyVersionDisabled'),
    enableKey: () => showing(keyVault.enableKey(whole), 'KeyVersionEnabled'),
    // Dates are whole seconds, so the next second is the first that is not in the past.
    async expire() {
      const effectMs = Math.ceil((now() + 1) / 1_000) * 1_000;
      const { notBeforeMs } = key;
      await setDates({ expireMs: effectMs, ...(notBeforeMs === undefined ? {} : { notBeforeMs }) });
      return { effectMs };
    },
    postpone: () => setDates({ notBeforeMs: now() + dayMs }),
    restoreDates: () => setDates(key),
    deleteKey: () => showing(keyVault.deleteKey(confirmed), 'KeyDeleted'),
    recoverKey: () => showing(keyVault.recoverKey(whole), 'KeyRecovered'),
    purgeKey: () => showing(keyVault.purgeKey(confirmed), 'KeyPurged'),
    removeOperation: (operation) => setOperations(operations.filter((one) => one !== permissionOf[operation])),
    restoreOperations: () => setOperations(operations),
  };
};

const vaultCalls = ({ clients: { keyVault } }: KeyOwner, key: KeyState): Pick<AccessOwner<CallEffect>, VaultCalls> => {
  const name = key.place.vault;
  const confirmed = { name, confirmName: name };
  const showing = async (call: Promise<unknown>, type: string): Promise<CallEffect> => {
    await call;
    return { event: events.ofVault(key, type) };
  };
  const setModel = (permissionModel: KeyState['permissionModel']) =>
    showing(keyVault.setPermissionModel({ ...confirmed, permissionModel }), 'PermissionModelSet');
  const setNetwork = (networkRules: KeyState['networkRules']) =>
    showing(keyVault.setNetworkRules({ ...confirmed, networkRules }), 'NetworkRulesSet');
  return {
    deleteVault: () => showing(keyVault.deleteVault(confirmed), 'VaultDeleted'),
    recoverVault: () => showing(keyVault.recoverVault({ name }), 'VaultRecovered'),
    switchModel: () => setModel(key.permissionModel === 'ACCESS_POLICY' ? 'ROLE_ASSIGNMENT' : 'ACCESS_POLICY'),
    restoreModel: () => setModel(key.permissionModel),
    closeNetwork: () => setNetwork(closedToAll),
    openNetwork: () => setNetwork(key.networkRules),
  };
};

const roleCalls = (
  owner: KeyOwner,
  key: KeyState,
  ids: readonly string[],
): Pick<AccessOwner<CallEffect>, RoleCalls> => {
  const { identity, keyVault } = owner.clients;
  const { place, principal, roles } = key;
  return {
    async removeRoles() {
      // The undo of an earlier step has assigned them under other ids. A repeat finds none, and names the recorded ones.
      const held = await holdersOf(owner, principal, roles);
      const last = held.at(-1) ?? roles.at(-1);
      if (last === undefined) throw new Error(`the identity of ${place.set} has no role to remove`);
      for (const { name } of held) await identity.deleteRoleAssignment({ name });
      return { event: events.ofRole(last.name, 'RoleRemoved') };
    },
    restoreRoles: () => assignRoles(owner, ids, principal, roles),
    async replaceRoles() {
      if (roles.length === 0) return {};
      const { etag } = await keyVault.getVault({ name: place.vault });
      // Identity removes the roles on a deleted vault when it receives that fact, perhaps after the vault was recovered, and keeps those
      // that were assigned after the deletion.
      const held = etag === key.vaultEtag ? [] : await holdersOf(owner, principal, roles);
      const former = held.filter(({ name }) => !ids.some((id) => name === `roleAssignments/${id}`));
      for (const { name } of former) await identity.deleteRoleAssignment({ name });
      return assignRoles(owner, ids, principal, roles);
    },
  };
};

const grantCalls = (
  owner: KeyOwner,
  key: KeyState,
  ids: readonly string[],
): Pick<AccessOwner<CallEffect>, GrantCalls> => {
  const { identity, keyVault, sets } = owner.clients;
  const { place, principal, permissions } = key;
  const setPolicy = async (keyPermissions: KeyState['permissions']) => {
    await keyVault.setAccessPolicy({
      name: place.vault,
      accessPolicy: { principal, keyPermissions: [...keyPermissions] },
    });
    return { event: events.ofVault(key, 'AccessPolicySet') };
  };
  return {
    async removePolicy() {
      await keyVault.removeAccessPolicy({ name: place.vault, principal });
      return { event: events.ofVault(key, 'AccessPolicyRemoved') };
    },
    removePermission: (permission) => setPolicy(permissions.filter((one) => one !== permissionOf[permission])),
    restorePolicy: async () => (permissions.length === 0 ? {} : setPolicy(permissions)),
    async deleteIdentity() {
      await identity.deletePrincipal({ name: principal, confirmName: principal });
      return { event: events.ofPrincipal(principal, 'PrincipalDeleted') };
    },
    async removeIdentity() {
      await sets.updateDiskEncryptionSet({ name: place.set, identityType: 'NONE' });
      return { event: events.ofSet(key, 'IdentityRemoved') };
    },
    // A deleted principal cannot be restored: the set gets another identity, which has no grant.
    async replaceIdentity() {
      const set = await sets.updateDiskEncryptionSet({ name: place.set, identityType: 'SYSTEM_ASSIGNED' });
      return grantOn(owner, ids, set.identity?.principal ?? '', key);
    },
  };
};
