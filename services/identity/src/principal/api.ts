import type {
  AddSecretRequest,
  CreateManagedIdentityRequest,
  CreatePrincipalRequest,
  DeletePrincipalRequest,
  GetPrincipalRequest,
  ListPrincipalsRequest,
  RemoveSecretRequest,
} from '@interlock/contracts/interlock/identity/v1/principal.ts';
import { type Category, Rejection, withoutTracker } from '@interlock/event-store';
import {
  type Authorizer,
  type Call,
  checkId,
  expectedVersion,
  names,
  pageOf,
  pageToken,
  principalOf,
  requirePermission,
} from '@interlock/rpc';
import type { Clock, Random } from '@interlock/runtime';
import type { PlatformOwners } from '../platform-owner/owners.ts';
import { type RoleAssignment, remove as removeAssignment } from '../role-assignment/decider.ts';
import type { RoleAssignmentEvent } from '../role-assignment/events.ts';
import type { Tenant } from '../tenancy/decider.ts';
import type { TenantEvent } from '../tenancy/events.ts';
import { tenantOnWire } from '../tenancy/wire.ts';
import { hashSecret } from '../token/tokens.ts';
import { readCertificate } from './certificate.ts';
import { addSecret, create, type NewPrincipal, type Principal, remove, removeSecret } from './decider.ts';
import type { PrincipalEvent, PrincipalType } from './events.ts';
import { principalOnWire } from './wire.ts';

/** Bytes of a secret: 256 bits cannot be guessed. */
const secretLength = 32;

interface Parts {
  readonly clock: Clock;
  readonly random: Random;
  readonly authorize: Authorizer;
  /** Where a caller needs permission to change a principal. @param principal `principals/<id>` */
  readonly scopeToChange: (principal: string) => Promise<string>;
  readonly tenants: Category<Tenant, TenantEvent>;
  readonly principals: Category<Principal, PrincipalEvent>;
  readonly assignments: Category<RoleAssignment, RoleAssignmentEvent>;
  readonly owners: PlatformOwners;
}

/** Principals and their secrets. */
export const principalApi = (parts: Parts) => ({
  async createPrincipal(request: CreatePrincipalRequest, { cause }: Call) {
    const id = checkId(request.principalId, 'principal', 'principal_id');
    const profile = {
      tenant: await existingTenant(parts, request.tenant),
      principalType: typeOf(request.type),
      displayName: request.displayName,
    } as const;
    return principalOnWire(await parts.principals.transact(id, create(parts.clock.now(), profile), cause));
  },

  async createManagedIdentity(request: CreateManagedIdentityRequest, { cause }: Call) {
    const id = checkId(request.principalId, 'principal', 'principal_id');
    names.diskEncryptionSet.parse(request.owner, 'owner');
    const profile = managedIdentity(await existingTenant(parts, request.tenant), request.owner);
    const created = await parts.principals.transact(id, create(parts.clock.now(), profile), cause);
    // A repeat is answered with the event of the first request.
    if (created.events.length === 0) cause.tracker?.found(`principal-${id}`, 1);
    return principalOnWire(created);
  },

  async getPrincipal({ name }: GetPrincipalRequest, call: Call) {
    const loaded = await parts.principals.load(idOf(name, 'name'));
    const caller = principalOf(call);
    // disk-encryption-set reads the identity that a user gives a set (CMK-40).
    if (caller.workload !== 'disk-encryption-set') {
      const scope = loaded.state.status === 'absent' ? '/' : loaded.state.tenant;
      await requirePermission(parts.authorize, caller, 'identity/principals/read', scope);
    }
    return principalOnWire(loaded);
  },

  async listPrincipals(request: ListPrincipalsRequest, call: Call) {
    const tenant = request.tenant || `tenants/${principalOf(call).tenant}`;
    await requirePermission(parts.authorize, principalOf(call), 'identity/principals/read', tenant);
    const index = { index: 'tenant', value: tenant };
    const { items, next } = await parts.principals.list({ ...pageOf(request), index });
    return { principals: items.map(principalOnWire), nextPageToken: pageToken(next) };
  },

  async deletePrincipal(request: DeletePrincipalRequest, call: Call) {
    const { clock, principals, assignments, owners } = parts;
    const id = idOf(request.name, 'name');
    await permitDeletion(parts, request, (await principals.load(id)).state, call);
    const at = clock.now();
    const deleted = await owners.changePrincipal(id, remove(at), at, call.cause, expectedVersion(request.etag));
    // Its role assignments are deleted too; a repeated call finishes that after a crash.
    const held = await assignments.listAll({ index: { index: 'principal', value: request.name } });
    const ids = held.map((assignment) => assignment.id);
    // The deletion is the answer, also to a repeat, and not the roles that go with it.
    await assignments.transactMany(ids, removeAssignment(clock.now()), withoutTracker(call.cause));
    call.cause.tracker?.found(`principal-${id}`, deleted.version);
    return principalOnWire(deleted);
  },

  async addSecret(request: AddSecretRequest, { cause }: Call) {
    const id = idOf(request.principal, 'principal');
    const secretId = checkId(request.secretId, 'secret', 'secret_id');
    const now = parts.clock.now();
    const wanted = request.expireTime?.getTime();
    const version = expectedVersion(request.etag);
    if (request.certificate) {
      const { certificate, thumbprint, expiresAt } = readCertificate(request.certificate);
      const ends = Math.min(wanted ?? expiresAt, expiresAt);
      const decision = addSecret(now, secretId, thumbprint, ends, certificate);
      const changed = await parts.principals.transact(id, decision, cause, version);
      return { secretText: '', principal: principalOnWire(changed) };
    }
    const secretText = Buffer.from(parts.random.bytes(secretLength)).toString('base64url');
    const decision = addSecret(now, secretId, hashSecret(secretText), wanted);
    const changed = await parts.principals.transact(id, decision, cause, version);
    return { secretText, principal: principalOnWire(changed) };
  },

  async removeSecret(request: RemoveSecretRequest, { cause }: Call) {
    const id = idOf(request.principal, 'principal');
    const at = parts.clock.now();
    const decision = removeSecret(at, request.secretId);
    return principalOnWire(await parts.owners.changePrincipal(id, decision, at, cause, expectedVersion(request.etag)));
  },
});

const idOf = (name: string, field: string): string => names.principal.parse(name, field).principal;

const managedIdentity = (tenant: string, owner: string): NewPrincipal => {
  const displayName = owner.split('/').at(-1) ?? owner;
  return { tenant, principalType: 'managed_identity', displayName, owner };
};

const existingTenant = async ({ tenants }: Parts, tenant: string): Promise<string> => {
  tenantOnWire(await tenants.load(names.tenant.parse(tenant, 'tenant').tenant));
  return tenant;
};

/**
 * disk-encryption-set deletes an identity with its set (CMK-39). For an identity that was never created it gets NOT_FOUND: a refusal
 * would be retried for ever. Every other caller needs a role and, for the identity of a set, a confirmation.
 */
const permitDeletion = async (
  { authorize, scopeToChange }: Parts,
  request: DeletePrincipalRequest,
  principal: Principal,
  call: Call,
): Promise<void> => {
  const isOfSet = principal.status === 'absent' || principal.owner !== undefined;
  if (principalOf(call).workload === 'disk-encryption-set' && isOfSet) return;
  const scope = await scopeToChange(request.name);
  await requirePermission(authorize, principalOf(call), 'identity/principals/delete', scope);
  confirmDeletion(request, principal);
};

/** Which principals users create: a managed identity without an owner is one that they give to sets (CMK-40). */
const typeOf = (type: string): PrincipalType => {
  if (type === 'USER') return 'user';
  if (type === 'APPLICATION') return 'application';
  if (type === 'MANAGED_IDENTITY') return 'managed_identity';
  throw new Rejection(
    'INVALID_ARGUMENT',
    'PRINCIPAL_TYPE_INVALID',
    `type must be USER, APPLICATION or MANAGED_IDENTITY (got ${type})`,
    { field: 'type' },
  );
};

/**
 * Requires the name again for the identity of a set, because its machines will stop.
 * @throws Rejection FAILED_PRECONDITION IDENTITY_IN_USE; INVALID_ARGUMENT CONFIRM_NAME_MISMATCH
 */
const confirmDeletion = ({ name, confirmName }: DeletePrincipalRequest, principal: Principal): void => {
  if (confirmName === name) return;
  if (confirmName !== '') {
    throw new Rejection(
      'INVALID_ARGUMENT',
      'CONFIRM_NAME_MISMATCH',
      `confirm_name must be "${name}", the name of the principal (got "${confirmName.slice(0, 200)}")`,
      { field: 'confirm_name', name },
    );
  }
  if (principal.status !== 'active' || principal.owner === undefined) return;
  const set = principal.owner.split('/').at(-1);
  throw new Rejection(
    'FAILED_PRECONDITION',
    'IDENTITY_IN_USE',
    `${name} is the identity of ${principal.owner}: without it the set loses access to its key, and a new identity needs all grants again. \`interlock impact set:${set}\` lists the disks. To delete it, repeat the call with confirm_name "${name}" (\`--confirm\`)`,
    { principal: name, disk_encryption_set: principal.owner, confirm_name: name },
  );
};
