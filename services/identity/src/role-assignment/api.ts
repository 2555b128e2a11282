import type {
  CreateRoleAssignmentRequest,
  DeleteRoleAssignmentRequest,
  GetRoleAssignmentRequest,
  ListRoleAssignmentsRequest,
  ListRolesRequest,
} from '@interlock/contracts/interlock/identity/v1/role.ts';
import { RoleAssignment as WireRoleAssignment } from '@interlock/contracts/interlock/identity/v1/role.ts';
import { type Category, type Loaded, Rejection } from '@interlock/event-store';
import {
  type Authorizer,
  type Call,
  checkId,
  expectedVersion,
  names,
  pageOf,
  pageToken,
  principalOf,
  requireActive,
  requirePermission,
} from '@interlock/rpc';
import type { Clock } from '@interlock/runtime';
import type { PlatformOwners } from '../platform-owner/owners.ts';
import type { Principal } from '../principal/decider.ts';
import type { PrincipalEvent } from '../principal/events.ts';
import { principalOnWire } from '../principal/wire.ts';
import type { Assigning } from './assigning.ts';
import { type RoleAssignment, remove } from './decider.ts';
import type { RoleAssignmentEvent } from './events.ts';
import { assignmentAction, roleNamed, roles } from './roles.ts';

/** Scopes of roles (KV-73): the platform, a tenant, or a path in a subscription. */
const scopePattern = /^(\/|(tenants|subscriptions)(\/[A-Za-z0-9_.-]+)+)$/;

interface Parts {
  readonly clock: Clock;
  readonly authorize: Authorizer;
  readonly principals: Category<Principal, PrincipalEvent>;
  readonly assignments: Category<RoleAssignment, RoleAssignmentEvent>;
  readonly assigning: Assigning;
  readonly owners: PlatformOwners;
}

/** Roles and their assignments. */
export const roleAssignmentApi = (parts: Parts) => ({
  async listRoles(request: ListRolesRequest, call: Call) {
    await requireActive(parts.authorize, principalOf(call));
    return pageOfRoles(request);
  },

  async createRoleAssignment(request: CreateRoleAssignmentRequest, call: Call) {
    const { clock, principals, assignments, assigning } = parts;
    const id = checkId(request.roleAssignmentId, 'roleAssignment', 'role_assignment_id');
    const { principal, role, scope } = request;
    const permit = () => requireAssignmentPermission(parts, call, role, 'write', scope);
    await permit();
    if (!roleNamed(role)) throw roleNotFound(role);
    if (!scopePattern.test(scope)) throw scopeInvalid(scope);
    const { principal: principalId } = names.principal.parse(principal, 'principal');
    if (principalOnWire(await principals.load(principalId)).state !== 'ACTIVE') throw principalDeleted(principal);
    const assigned = await assigning(id, { principal, role, scope }, clock.now(), call.cause, permit);
    // A concurrent deletion of the principal may have listed its roles before this one was stored.
    if ((await principals.load(principalId)).state.status !== 'active') {
      await assignments.transact(id, remove(clock.now()), call.cause);
      throw principalDeleted(principal);
    }
    return onWire(assigned);
  },

  async getRoleAssignment({ name }: GetRoleAssignmentRequest) {
    return onWire(await parts.assignments.load(idOf(name)));
  },

  async listRoleAssignments(request: ListRoleAssignmentsRequest) {
    const { assignments } = parts;
    const { principal, scope } = request;
    const page = pageOf(request);
    if (principal === '') {
      const index = scope === '' ? {} : { index: { index: 'scope', value: scope } };
      const { items, next } = await assignments.list({ ...page, ...index });
      const assigned = items.filter(({ state }) => state.status === 'assigned');
      return { roleAssignments: assigned.map(onWire), nextPageToken: pageToken(next) };
    }
    // A principal has few assignments, so its page is cut here, after the filter by scope.
    const held = await assignments.listAll({ index: { index: 'principal', value: principal } });
    const items = held.filter(
      ({ id, state }) =>
        (scope === '' || (state.status === 'assigned' && state.scope === scope)) &&
        (page.after === undefined || id > page.after),
    );
    const next = items.length > page.limit ? items[page.limit - 1]?.id : undefined;
    return { roleAssignments: items.slice(0, page.limit).map(onWire), nextPageToken: pageToken(next) };
  },

  async deleteRoleAssignment(request: DeleteRoleAssignmentRequest, call: Call) {
    const id = idOf(request.name);
    const { state } = await parts.assignments.load(id);
    const [role, scope] = state.status === 'absent' ? ['', '/'] : [state.role, state.scope];
    await requireAssignmentPermission(parts, call, role, 'delete', scope);
    await parts.owners.removeAssignment(id, parts.clock.now(), call.cause, expectedVersion(request.etag));
    return {};
  },
});

const pageOfRoles = (request: ListRolesRequest) => {
  const { limit, after } = pageOf(request);
  const from = after === undefined ? 0 : roles.findIndex((role) => role.name === after) + 1;
  const page = roles.slice(from, from + limit);
  const next = from + limit < roles.length ? page.at(-1)?.name : undefined;
  const onWire = page.map(({ actions, notActions = [], dataActions, ...role }) => ({
    ...role,
    actions: [...actions],
    notActions: [...notActions],
    dataActions: [...dataActions],
  }));
  return { roles: onWire, nextPageToken: pageToken(next) };
};

const idOf = (name: string): string => names.roleAssignment.parse(name, 'name').roleAssignment;

/** Also for an unknown role, so that a caller without permission does not learn which roles exist. */
const requireAssignmentPermission = async (
  { authorize }: Parts,
  call: Call,
  roleName: string,
  verb: 'write' | 'delete',
  scope: string,
): Promise<void> => {
  const role = roleNamed(roleName);
  const action = role ? assignmentAction(role, verb) : `identity/roleAssignments/${verb}`;
  await requirePermission(authorize, principalOf(call), action, scope);
};

const roleNotFound = (role: string): Rejection =>
  new Rejection(
    'INVALID_ARGUMENT',
    'ROLE_NOT_FOUND',
    `role must be one of ${roles.map(({ name }) => name).join(', ')} (got "${role}")`,
    { field: 'role', role },
  );

const scopeInvalid = (scope: string): Rejection =>
  new Rejection(
    'INVALID_ARGUMENT',
    'SCOPE_INVALID',
    `scope must be "/", or a path under tenants/ or subscriptions/ (got "${scope}")`,
    { field: 'scope', scope },
  );

const principalDeleted = (principal: string): Rejection =>
  new Rejection('NOT_FOUND', 'PRINCIPAL_NOT_FOUND', `${principal} is deleted`, { field: 'principal', name: principal });

const onWire = ({ id, state, version }: Loaded<RoleAssignment>): WireRoleAssignment => {
  const name = `roleAssignments/${id}`;
  if (state.status !== 'assigned')
    throw new Rejection('NOT_FOUND', 'ROLE_ASSIGNMENT_NOT_FOUND', `${name} does not exist`, { name });
  const { principal, role, scope, assignedAt } = state;
  return WireRoleAssignment.fromPartial({
    name,
    principal,
    role,
    scope,
    createTime: new Date(assignedAt),
    etag: String(version),
  });
};
