import type { KeyAction, Step } from '@interlock/lab';
import { allowSet } from '../../cloud/world.ts';
import { type EffectEvent, encryptionRole, type HeldRole, type KeyClients, type KeyState } from './key-state.ts';

/** The caller of actions on keys, with its sources of time and randomness. */
export interface KeyOwner {
  readonly clients: KeyClients;
  /** Wall clock of key-vault, to which dates of keys refer, in milliseconds since the epoch. */
  readonly now: () => number;
  /** Access token of an owner of every key, for key-vault: a set needs it to leave a version that cannot be used. */
  readonly ownerToken: () => Promise<string>;
}

/** Everything that an action and its undo need. Plain JSON, for `Undo.data`. */
export interface KeyUndo {
  /** Before the action. */
  readonly key: KeyState;
  /** The key of `assign-key`, and its group. */
  readonly to?: KeyState;
  /** UUIDs: the request id of a new version, and one for each role assignment that an undo makes. */
  readonly ids: readonly [string, ...string[]];
  /** The permission that `remove-permission` removes. */
  readonly permission?: RemovablePermission;
}

/** The effect of an action or its undo. */
export interface KeyEffect {
  /** Versions to which it removed or restored access. */
  readonly keyVersions: readonly string[];
  /** When it takes effect, in milliseconds since the epoch, if a date decides that. */
  readonly effectMs?: number;
  /** The commit that decides it otherwise; absent if there was nothing to do. */
  readonly event?: EffectEvent;
}

/** Actions that are calls of services. Each target implements `throttle` itself. */
export type CallableKeyAction = Exclude<KeyAction, 'throttle'>;

interface Deed {
  carryOut(owner: KeyOwner, undo: KeyUndo): Promise<Omit<KeyEffect, 'keyVersions'>>;
  undo(owner: KeyOwner, undo: KeyUndo): Promise<Omit<KeyEffect, 'keyVersions'>>;
}

/** Permissions that `remove-permission` may remove, as experiment files name them. */
const removable = { get: 'GET', wrap: 'WRAP_KEY', unwrap: 'UNWRAP_KEY' } as const;
type RemovablePermission = (typeof removable)[keyof typeof removable];

const dayMs = 86_400_000;

const ofKey = ({ key }: KeyUndo, ...types: readonly string[]): EffectEvent => ({
  service: 'key-vault',
  stream: `key-${key.place.key}`,
  types,
});
const ofVault = ({ key }: KeyUndo, ...types: readonly string[]): EffectEvent => ({
  service: 'key-vault',
  stream: key.place.vault.replace('vaults/', 'vault-'),
  types,
});
const ofSet = ({ key }: KeyUndo, ...types: readonly string[]): EffectEvent => ({
  service: 'disk-encryption-set',
  stream: `set-${key.place.set}`,
  types,
});
/** @param name `principals/<uuid>` */
const ofPrincipal = (name: string, ...types: readonly string[]): EffectEvent => ({
  service: 'identity',
  stream: name.replace('principals/', 'principal-'),
  types,
});
/** @param name `roleAssignments/<uuid>` */
const ofRole = (name: string, ...types: readonly string[]): EffectEvent => ({
  service: 'identity',
  stream: name.replace('roleAssignments/', 'role_assignment-'),
  types,
});

const dateOf = (ms: number | undefined): Date | undefined => (ms === undefined ? undefined : new Date(ms));

const setDates = async (
  { clients }: KeyOwner,
  undo: KeyUndo,
  { notBeforeMs, expireMs }: Pick<KeyState, 'notBeforeMs' | 'expireMs'>,
): Promise<{ readonly event: EffectEvent }> => {
  const dates = { notBefore: dateOf(notBeforeMs), expireTime: dateOf(expireMs) };
  await clients.keyVault.setKeyVersionDates({ name: undo.key.keyVersion, ...dates });
  return { event: ofKey(undo, 'KeyVersionDatesSet') };
};

/** Gives the set's identity the policy that it had before. */
const restorePolicy: Deed['undo'] = async ({ clients }, undo) => {
  const { place, principal, permissions } = undo.key;
  if (permissions.length === 0) return {};
  const accessPolicy = { principal, keyPermissions: [...permissions] };
  await clients.keyVault.setAccessPolicy({ name: place.vault, accessPolicy });
  return { event: ofVault(undo, 'AccessPolicySet') };
};

/** Assigns roles to a principal, except those that it has, so a repeated undo makes no second assignment. */
const assignRoles = async (
  { clients }: KeyOwner,
  ids: readonly string[],
  principal: string,
  roles: readonly Pick<HeldRole, 'role' | 'scope'>[],
): Promise<{ readonly event?: EffectEvent }> => {
  const { roleAssignments: held } = await clients.identity.listRoleAssignments({ principal });
  const missing = roles.filter(({ role, scope }) => !held.some((one) => one.role === role && one.scope === scope));
  let event: EffectEvent | undefined;
  for (const [n, { role, scope }] of missing.entries()) {
    const roleAssignmentId = ids[n] ?? '';
    await clients.identity.createRoleAssignment({ roleAssignmentId, principal, role, scope });
    event = ofRole(`roleAssignments/${roleAssignmentId}`, 'RoleAssigned');
  }
  return event === undefined ? {} : { event };
};

/** Gives an identity the permissions that it needs on the vault of a key, by the vault's permission model. */
const grant = async (
  owner: KeyOwner,
  undo: KeyUndo,
  principal: string,
  on: KeyState,
): Promise<{ readonly event?: EffectEvent }> => {
  const { vault, resourceGroup } = on.place;
  if (on.permissionModel === 'ROLE_ASSIGNMENT') {
    return assignRoles(owner, undo.ids, principal, [{ role: encryptionRole, scope: `${resourceGroup}/${vault}` }]);
  }
  await allowSet(owner.clients, vault, principal);
  return { event: ofVault({ ...undo, key: on }, 'AccessPolicySet') };
};

/** A deleted principal cannot be restored: the set gets another identity, which has no grant (CMK-38). */
const giveIdentity: Deed['undo'] = async (owner, undo) => {
  const set = await owner.clients.sets.updateDiskEncryptionSet({
    name: undo.key.place.set,
    identityType: 'SYSTEM_ASSIGNED',
  });
  return grant(owner, undo, set.identity?.principal ?? '', undo.key);
};

const removeRoles: Deed['carryOut'] = async ({ clients }, { key }) => {
  const last = key.roles.at(-1);
  if (last === undefined) throw new Error(`the identity of ${key.place.set} has no role to remove`);
  for (const { name } of key.roles) await clients.identity.deleteRoleAssignment({ name });
  return { event: ofRole(last.name, 'RoleRemoved') };
};

const restoreRoles: Deed['undo'] = (owner, { key, ids }) => assignRoles(owner, ids, key.principal, key.roles);

const assign = async (
  { clients, ownerToken }: KeyOwner,
  undo: KeyUndo,
  keyUrl: string,
): Promise<{ readonly event: EffectEvent }> => {
  await clients.sets.assignKey({ name: undo.key.place.set, keyUrl, keyOwnerToken: await ownerToken() });
  return { event: ofSet(undo, 'KeyAssigned') };
};

const setModel = async (
  { clients }: KeyOwner,
  undo: KeyUndo,
  permissionModel: KeyState['permissionModel'],
): Promise<{ readonly event: EffectEvent }> => {
  const name = undo.key.place.vault;
  await clients.keyVault.setPermissionModel({ name, permissionModel, confirmName: name });
  return { event: ofVault(undo, 'PermissionModelSet') };
};

const deleteKey: Deed['carryOut'] = async ({ clients }, undo) => {
  const name = undo.key.place.key;
  await clients.keyVault.deleteKey({ name, confirmName: name });
  return { event: ofKey(undo, 'KeyDeleted') };
};

const deeds: Readonly<Record<CallableKeyAction, Deed>> = {
  'disable-key': {
    async carryOut({ clients }, undo) {
      await clients.keyVault.disableKey({ name: undo.key.place.key });
      return { event: ofKey(undo, 'KeyVersionDisabled') };
    },
    async undo({ clients }, undo) {
      await clients.keyVault.enableKey({ name: undo.key.place.key });
      return { event: ofKey(undo, 'KeyVersionEnabled') };
    },
  },
  'delete-key': {
    carryOut: deleteKey,
    async undo({ clients }, undo) {
      await clients.keyVault.recoverKey({ name: undo.key.place.key });
      return { event: ofKey(undo, 'KeyRecovered') };
    },
  },
  'purge-key': {
    async carryOut(owner, undo) {
      const deleted = await deleteKey(owner, undo);
      const name = undo.key.place.key;
      await owner.clients.keyVault.purgeKey({ name, confirmName: name });
      return deleted;
    },
    // A purge is final.
    undo: async () => ({}),
  },
  'expire-key': {
    // Dates are whole seconds, so the next second is the first that is not in the past.
    async carryOut(owner, undo) {
      const effectMs = Math.ceil((owner.now() + 1) / 1_000) * 1_000;
      const { notBeforeMs } = undo.key;
      await setDates(owner, undo, { expireMs: effectMs, ...(notBeforeMs === undefined ? {} : { notBeforeMs }) });
      return { effectMs };
    },
    undo: (owner, undo) => setDates(owner, undo, undo.key),
  },
  'not-yet-valid': {
    carryOut: (owner, undo) => setDates(owner, undo, { notBeforeMs: owner.now() + dayMs }),
    undo: (owner, undo) => setDates(owner, undo, undo.key),
  },
  'remove-policy': {
    async carryOut({ clients }, undo) {
      const { place, principal } = undo.key;
      await clients.keyVault.removeAccessPolicy({ name: place.vault, principal });
      return { event: ofVault(undo, 'AccessPolicyRemoved') };
    },
    undo: restorePolicy,
  },
  'remove-permission': {
    async carryOut({ clients }, undo) {
      const { place, principal, permissions } = undo.key;
      const keyPermissions = permissions.filter((one) => one !== undo.permission);
      await clients.keyVault.setAccessPolicy({ name: place.vault, accessPolicy: { principal, keyPermissions } });
      return { event: ofVault(undo, 'AccessPolicySet') };
    },
    undo: restorePolicy,
  },
  'remove-role': { carryOut: removeRoles, undo: restoreRoles },
  'delete-identity': {
    async carryOut({ clients }, { key }) {
      const name = key.principal;
      await clients.identity.deletePrincipal({ name, confirmName: name });
      return { event: ofPrincipal(name, 'PrincipalDeleted') };
    },
    undo: giveIdentity,
  },
  'set-identity-none': {
    async carryOut({ clients }, undo) {
      await clients.sets.updateDiskEncryptionSet({ name: undo.key.place.set, identityType: 'NONE' });
      return { event: ofSet(undo, 'IdentityRemoved') };
    },
    undo: giveIdentity,
  },
  'delete-vault': {
    async carryOut({ clients }, undo) {
      const name = undo.key.place.vault;
      await clients.keyVault.deleteVault({ name, confirmName: name });
      return { event: ofVault(undo, 'VaultDeleted') };
    },
    // Recovering a vault does not restore its role assignments.
    async undo(owner, undo) {
      await owner.clients.keyVault.recoverVault({ name: undo.key.place.vault });
      const { event = ofVault(undo, 'VaultRecovered') } = await restoreRoles(owner, undo);
      return { event };
    },
  },
  'switch-permission-model': {
    carryOut: (owner, undo) =>
      setModel(owner, undo, undo.key.permissionModel === 'ACCESS_POLICY' ? 'ROLE_ASSIGNMENT' : 'ACCESS_POLICY'),
    undo: (owner, undo) => setModel(owner, undo, undo.key.permissionModel),
  },
  'rotate-key': {
    async carryOut(owner, undo) {
      const { keyUrl } = await owner.clients.keyVault.rotateKey({ name: undo.key.place.key, requestId: undo.ids[0] });
      return assign(owner, undo, keyUrl);
    },
    undo: (owner, undo) => assign(owner, undo, undo.key.keyUrl),
  },
  'assign-key': {
    async carryOut(owner, undo) {
      const { key, to } = undo;
      if (to === undefined) throw new Error('assign-key needs the key to assign: to');
      await grant(owner, undo, key.principal, to);
      return assign(owner, undo, to.keyUrl);
    },
    // The grant on the other vault stays: disks that moved are unwrapped with it while they move back.
    undo: (owner, undo) => assign(owner, undo, undo.key.keyUrl),
  },
};

/** Whether calls of services carry the action out. */
export const isKeyAction = (action: string): action is CallableKeyAction => Object.hasOwn(deeds, action);

/**
 * What a step and its undo need. Reads nothing, so that a service that a fault stopped does not delay an injection.
 * @param key state of the key that the step targets @param to that of the key of `assign-key`
 * @param uuid draws UUIDs that no other step has
 * @throws Error if the step has an option that it cannot have
 */
export const planKeyAction = (
  step: Pick<Step, 'action' | 'options'>,
  { key, to, uuid }: Pick<KeyUndo, 'key' | 'to'> & { readonly uuid: () => string },
): KeyUndo => {
  const base: KeyUndo = { key, ids: [uuid(), ...key.roles.map(uuid)], ...(to === undefined ? {} : { to }) };
  if (step.action !== 'remove-permission') return base;
  const wanted = String(step.options.permission);
  if (!Object.hasOwn(removable, wanted)) {
    throw new Error(`permission must be ${Object.keys(removable).join(', ')} (got ${wanted})`);
  }
  return { ...base, permission: removable[wanted as keyof typeof removable] };
};

/** Carries a key action out. Repeating it has no further effect. @throws RpcFailure or Rejection of a service */
export const carryOutKeyAction = async (
  owner: KeyOwner,
  action: CallableKeyAction,
  undo: KeyUndo,
): Promise<KeyEffect> => ({
  ...(await deeds[action].carryOut(owner, undo)),
  keyVersions: undo.key.keyVersions,
});

/** Restores the recorded state. Repeating it has no further effect. @throws RpcFailure or Rejection of a service */
export const undoKeyAction = async (owner: KeyOwner, action: CallableKeyAction, undo: KeyUndo): Promise<KeyEffect> => ({
  ...(await deeds[action].undo(owner, undo)),
  keyVersions: undo.key.keyVersions,
});
