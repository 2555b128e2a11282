import type { JsonObject } from '@bufbuild/protobuf';
import { setOperationsOnWire, setPermissionsOnWire } from '@interlock/access/permissions';
import type { Caller } from '../request/calls.ts';
import { isObject, methodOf, Service } from '../request/schema.ts';
import { policyOf, textsIn } from './before.ts';
import { hasPolicy, hasRoles, vaultsOf } from './grants-left.ts';

/** A set that loses keys, as a preview shows it. */
export interface LosingSet {
  /** Full name. */
  readonly set: string;
  readonly keyVersions: readonly string[];
}

/** Access to keys that a request takes away. */
export interface AccessTaken {
  /** Request of `PreviewImpact`: what is taken from which key, vault or principal. */
  readonly preview: JsonObject;
  /** Whether a set of the preview loses access, where other grants may remain; absent: every set does. @throws Rejection, RpcFailure */
  readonly loses?: (set: LosingSet) => Promise<boolean>;
}

/** What a request is judged with. */
export interface TakingContext {
  readonly caller: Pick<Caller, 'call'>;
  readonly switches: ReadonlySet<string>;
  /** Milliseconds since the epoch. */
  readonly now: number;
}

/** The access that a request takes away; empty if it takes none. @param request canonical protobuf JSON @throws Rejection, RpcFailure */
export type TakesAccess = (request: JsonObject, context: TakingContext) => Promise<readonly AccessTaken[]>;

type KeyAction = 'DISABLE' | 'DELETE' | 'PURGE' | 'EXPIRE';

/** An expiry that is nearer than this needs a confirmation, in milliseconds: a day. */
const NEAR_MS = 86_400_000;

/** The key, version or vault in `name` is taken away. */
export const takesNamed =
  (action: KeyAction): TakesAccess =>
  async ({ name }) => [ofName(String(name), action)];

/** An expiry that is past or near, or a start of validity that lies ahead. */
export const takesByDates: TakesAccess = async ({ name, notBefore, expireTime }, { now }) => {
  const expires = typeof expireTime === 'string' && Date.parse(expireTime) < now + NEAR_MS;
  const isAhead = typeof notBefore === 'string' && Date.parse(notBefore) > now;
  return [...(isAhead ? [ofName(String(name), 'DISABLE')] : []), ...(expires ? [ofName(String(name), 'EXPIRE')] : [])];
};

/** Operations without wrap or unwrap. */
export const takesOperations: TakesAccess = async ({ name, keyOperations }) => {
  const left = textsIn(keyOperations);
  return setOperationsOnWire.every((one) => left.includes(one)) ? [] : [ofName(String(name), 'DISABLE')];
};

/** A policy that replaces one with more permissions. Roles decide in a vault with role assignments. */
export const takesByPolicy: TakesAccess = async ({ name, accessPolicy }, { caller, switches }) => {
  if (!switches.has('replace') || !isObject(accessPolicy)) return [];
  const vault = await caller.call('key-vault', methodOf(Service.keyVault, 'GetVault'), { name: name ?? '' });
  const before = neededIn(policyOf(vault, accessPolicy.principal));
  const after = neededIn(accessPolicy);
  const isLess = before.some((permission) => !after.includes(permission));
  return isLess ? takesPolicy(vault, String(accessPolicy.principal), caller) : [];
};

/** The whole policy of a principal. */
export const takesWholePolicy: TakesAccess = async ({ name, principal }, { caller }) => {
  const vault = await caller.call('key-vault', methodOf(Service.keyVault, 'GetVault'), { name: name ?? '' });
  return neededIn(policyOf(vault, principal)).length === 0 ? [] : takesPolicy(vault, String(principal), caller);
};

/** The grants of the model that a vault leaves, from sets without a grant of the other model. */
export const takesByModel: TakesAccess = async ({ name, permissionModel }, { caller }) => {
  const vault = await caller.call('key-vault', methodOf(Service.keyVault, 'GetVault'), { name: name ?? '' });
  if (vault.permissionModel === permissionModel) return [];
  const loses = async ({ set, keyVersions }: LosingSet): Promise<boolean> => {
    const principal = await identityOf(set, caller);
    if (permissionModel === 'ACCESS_POLICY') return !hasPolicy(vault, principal);
    return !(await hasRoles({ principal, vaults: [vault], keyVersions }, caller));
  };
  return [{ preview: { vault: String(name), action: 'REVOKE' }, loses }];
};

/** Network rules that serve no trusted services: every set with a key in the vault. */
export const takesByNetwork: TakesAccess = async ({ name, networkRules }) => {
  const { defaultAction, bypassTrustedServices, publicAccessDisabled } = (networkRules ?? {}) as Record<
    string,
    unknown
  >;
  const isClosed = defaultAction === 'DENY' || publicAccessDisabled === true;
  return isClosed && bypassTrustedServices !== true ? [{ preview: { vault: String(name), action: 'REVOKE' } }] : [];
};

/** A principal that is deleted. Only the identity of a set uses keys for disks. */
export const takesPrincipal: TakesAccess = async ({ name }, { caller }) =>
  (await ownerOf(String(name), caller)) === '' ? [] : [{ preview: { principal: String(name), action: 'DELETE' } }];

/** A set that gives up its identity. */
export const takesIdentity: TakesAccess = async ({ name, identityType }, { caller }) => {
  if (identityType !== 'NONE') return [];
  const principal = await identityOf(String(name), caller);
  return principal === '' ? [] : [{ preview: { principal, action: 'DELETE' } }];
};

/** A role of a set's identity, where no other role gives the same. @param assignment as identity shows it */
export const takesRole: TakesAccess = async ({ name, principal }, { caller }) => {
  if ((await ownerOf(String(principal), caller)) === '') return [];
  const loses = async ({ keyVersions }: LosingSet): Promise<boolean> => {
    const all = await vaultsOf(keyVersions, caller);
    const vaults = all.filter(({ permissionModel }) => permissionModel === 'ROLE_ASSIGNMENT');
    if (vaults.length === 0) return false;
    const roles = { principal: String(principal), vaults, keyVersions };
    const [had, has] = [await hasRoles(roles, caller), await hasRoles({ ...roles, without: String(name) }, caller)];
    return had && !has;
  };
  return [{ preview: { principal: String(principal), action: 'REVOKE' }, loses }];
};

const ofName = (name: string, action: KeyAction): AccessTaken => ({ preview: { [fieldFor(name)]: name, action } });

const fieldFor = (name: string): string =>
  name.includes('/versions/') ? 'keyVersion' : name.includes('/keys/') ? 'key' : 'vault';

/** The policy of a principal in a vault whose policies count, from the set that the principal belongs to. */
async function takesPolicy(
  { name, permissionModel }: JsonObject,
  principal: string,
  caller: TakingContext['caller'],
): Promise<readonly AccessTaken[]> {
  if (permissionModel === 'ROLE_ASSIGNMENT') return [];
  const owner = await ownerOf(principal, caller);
  if (owner === '') return [];
  return [{ preview: { vault: String(name), action: 'REVOKE' }, loses: async ({ set }) => set === owner }];
}

/** The set that a principal is the identity of; empty if it belongs to no resource. */
async function ownerOf(name: string, caller: TakingContext['caller']): Promise<string> {
  const { owner } = await caller.call('identity', methodOf(Service.identity, 'GetPrincipal'), { name });
  return typeof owner === 'string' ? owner : '';
}

/** `principals/{uuid}` of a set; empty if it has none. */
export async function identityOf(set: string, caller: TakingContext['caller']): Promise<string> {
  const get = methodOf(Service.diskEncryptionSet, 'GetDiskEncryptionSet');
  const { identity } = await caller.call('disk-encryption-set', get, { name: set });
  return isObject(identity) ? String(identity.principal ?? '') : '';
}

const neededIn = (policy: JsonObject | undefined): readonly string[] => {
  const permissions = textsIn(policy?.keyPermissions);
  return permissions.includes('ALL')
    ? setPermissionsOnWire
    : setPermissionsOnWire.filter((one) => permissions.includes(one));
};

/** The sets of a preview with the versions that they lose. */
export const losingSetsIn = (impacts: readonly JsonObject[]): readonly LosingSet[] =>
  impacts
    .filter(({ kind }) => kind === 'SET_LOSES_KEY')
    .map(({ resource, keyVersions }) => ({ set: String(resource), keyVersions: textsIn(keyVersions) }));
