import type {
  AddSecretRequest,
  CreateManagedIdentityRequest,
  CreatePrincipalRequest,
  DeletePrincipalRequest,
  GetPrincipalRequest,
  ListPrincipalsRequest,
  RemoveSecretRequest,
} from '@interlock/contracts/interlock/identity/v1/principal.ts';
import { type Category, Rejection } from '@interlock/event-store';
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
import { addSecret, create, type Principal, remove, removeSecret } from './decider.ts';
import type { PrincipalEvent } from './events.ts';
import { principalOnWire } from './wire.ts';

/** Bytes of a secret: 256 bits, so that no list of guesses reaches it. */
const secretLength = 32;

/** Principals and their secrets: request in, resource out. */
export const principalApi = (parts: {
  readonly clock: Clock;
  readonly random: Random;
  readonly authorize: Authorizer;
  /** Where the right to change a principal is needed. @param principal `principals/<id>` */
  readonly scopeToChange: (principal: string) => Promise<string>;
  readonly tenants: Category<Tenant, TenantEvent>;
  readonly principals: Category<Principal, PrincipalEvent>;
  readonly assignments: Category<RoleAssignment, RoleAssignmentEvent>;
  readonly owners: PlatformOwners;
}) => {
  const { clock, random, principals, tenants, owners } = parts;
  const idOf = (name: string, field: string): string => names.principal.parse(name, field).principal;
  const existingTenant = async (tenant: string): Promise<string> => {
    tenantOnWire(await tenants.load(names.tenant.parse(tenant, 'tenant').tenant));
    return tenant;
  };

  return {
    async createPrincipal(request: CreatePrincipalRequest, { cause }: Call) {
      const id = checkId(request.principalId, 'principal', 'principal_id');
      if (request.type !== 'USER' && request.type !== 'APPLICATION') {
        throw new Rejection(
          'INVALID_ARGUMENT',
          'PRINCIPAL_TYPE_INVALID',
          'type must be USER or APPLICATION: managed identities are made with their resource',
          {
            field: 'type',
          },
        );
      }
      const principalType = request.type === 'USER' ? 'user' : 'application';
      const wish = {
        tenant: await existingTenant(request.tenant),
        principalType,
        displayName: request.displayName,
      } as const;
      return principalOnWire(await principals.transact(id, create(clock.now(), wish), cause));
    },
    async createManagedIdentity(request: CreateManagedIdentityRequest, { cause }: Call) {
      const id = checkId(request.principalId, 'principal', 'principal_id');
      names.diskEncryptionSet.parse(request.owner, 'owner');
      const wish = {
        tenant: await existingTenant(request.tenant),
        principalType: 'managed_identity',
        displayName: request.owner.split('/').at(-1) ?? request.owner,
        owner: request.owner,
      } as const;
      return principalOnWire(await principals.transact(id, create(clock.now(), wish), cause));
    },
    async getPrincipal({ name }: GetPrincipalRequest) {
      return principalOnWire(await principals.load(idOf(name, 'name')));
    },
    async listPrincipals(request: ListPrincipalsRequest, call: Call) {
      const tenant = request.tenant || `tenants/${principalOf(call).tenant}`;
      await requirePermission(parts.authorize, principalOf(call), 'identity/principals/read', tenant);
      const { items, next } = await principals.list({ ...pageOf(request), index: { index: 'tenant', value: tenant } });
      return { principals: items.map(principalOnWire), nextPageToken: pageToken(next) };
    },
    async deletePrincipal(request: DeletePrincipalRequest, call: Call) {
      const id = idOf(request.name, 'name');
      const { state } = await principals.load(id);
      // The service that made a managed identity takes it away with its resource (CMK-39); everybody else needs a role. That
      // service hears NOT_FOUND of one that was taken away before it was made: a refusal would have it try for ever.
      const isOwner =
        principalOf(call).workload === 'disk-encryption-set' &&
        (state.status === 'absent' || state.owner !== undefined);
      if (!isOwner) {
        const scope = await parts.scopeToChange(request.name);
        await requirePermission(parts.authorize, principalOf(call), 'identity/principals/delete', scope);
        confirmDeletion(request, state);
      }
      const at = clock.now();
      const deleted = await owners.changePrincipal(id, remove(at), at, call.cause, expectedVersion(request.etag));
      // Its roles go with it. Whoever repeats the call after a crash in between finishes this too.
      const held = await parts.assignments.listAll({ index: { index: 'principal', value: request.name } });
      await parts.assignments.transactMany(
        held.map((assignment) => assignment.id),
        removeAssignment(clock.now()),
        call.cause,
      );
      return principalOnWire(deleted);
    },
    async addSecret(request: AddSecretRequest, { cause }: Call) {
      const id = idOf(request.principal, 'principal');
      const secretId = checkId(request.secretId, 'secret', 'secret_id');
      const secretText = Buffer.from(random.bytes(secretLength)).toString('base64url');
      const decision = addSecret(clock.now(), secretId, hashSecret(secretText), request.expireTime?.getTime());
      const principal = principalOnWire(await principals.transact(id, decision, cause, expectedVersion(request.etag)));
      return { secretText, principal };
    },
    async removeSecret(request: RemoveSecretRequest, { cause }: Call) {
      const id = idOf(request.principal, 'principal');
      const at = clock.now();
      const decision = removeSecret(at, request.secretId);
      return principalOnWire(await owners.changePrincipal(id, decision, at, cause, expectedVersion(request.etag)));
    },
  };
};

/**
 * Asks to be told the name of the identity of a set again: its machines stop, and nobody should do that by a slip of the hand.
 * @throws Rejection FAILED_PRECONDITION IDENTITY_IN_USE; INVALID_ARGUMENT CONFIRM_NAME_MISMATCH
 */
const confirmDeletion = ({ name, confirmName }: DeletePrincipalRequest, principal: Principal): void => {
  if (confirmName === name) return;
  if (confirmName !== '') {
    throw new Rejection(
      'INVALID_ARGUMENT',
      'CONFIRM_NAME_MISMATCH',
      `confirm_name must be "${name}", the name of what is to go, and not "${confirmName.slice(0, 200)}"`,
      { field: 'confirm_name', name },
    );
  }
  if (principal.status !== 'active' || principal.owner === undefined) return;
  const set = principal.owner.split('/').at(-1);
  throw new Rejection(
    'FAILED_PRECONDITION',
    'IDENTITY_IN_USE',
    `${name} is the identity of ${principal.owner}: without it the set has lost its key, and a new identity has to be granted all that this one was. \`interlock impact set:${set}\` lists the disks. To go on, repeat the call with confirm_name "${name}" (\`--confirm set:${set}\`)`,
    { principal: name, disk_encryption_set: principal.owner, confirm_name: name },
  );
};
