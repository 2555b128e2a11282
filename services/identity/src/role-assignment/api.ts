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

/** Where roles can be given (KV-73): the platform, a tenant, or a path in a subscription. */
const scopePattern = /^(\/|(tenants|subscriptions)(\/[A-Za-z0-9_.-]+)+)$/;

/** Roles and their assignments: request in, resource out. */
export const roleAssignmentApi = (parts: {
  readonly clock: Clock;
  readonly authorize: Authorizer;
  readonly principals: Category<Principal, PrincipalEvent>;
  readonly assignments: Category<RoleAssignment, RoleAssignmentEvent>;
  readonly assigning: Assigning;
  readonly owners: PlatformOwners;
}) => {
  const { clock, authorize, principals, assignments, assigning, owners } = parts;
  const idOf = (name: string): string => names.roleAssignment.parse(name, 'name').roleAssignment;
  const ofPrincipal = (principal: string) => assignments.listAll({ index: { index: 'principal', value: principal } });

  /** Also for an unknown role: nobody without the right learns which there are. */
  const permit = async (call: Call, roleName: string, verb: 'write' | 'delete', scope: string): Promise<void> => {
    const role = roleNamed(roleName);
    const action = role ? assignmentAction(role, verb) : `identity/roleAssignments/${verb}`;
    await requirePermission(authorize, principalOf(call), action, scope);
  };

  return {
    async listRoles(request: ListRolesRequest, call: Call) {
      await requireActive(authorize, principalOf(call));
      const { limit, after } = pageOf(request);
      const from = after === undefined ? 0 : roles.findIndex((role) => role.name === after) + 1;
      const page = roles.slice(from, from + limit);
      const next = from + limit < roles.length ? page.at(-1)?.name : undefined;
      const onWire = page.map(({ name, title, definitionId, actions, notActions = [], dataActions }) => ({
        name,
        title,
        definitionId,
        actions: [...actions],
        notActions: [...notActions],
        dataActions: [...dataActions],
      }));
      return { roles: onWire, nextPageToken: pageToken(next) };
    },
    async createRoleAssignment(request: CreateRoleAssignmentRequest, call: Call) {
      const id = checkId(request.roleAssignmentId, 'roleAssignment', 'role_assignment_id');
      const { principal, role, scope } = request;
      await permit(call, role, 'write', scope);
      if (!roleNamed(role)) {
        throw new Rejection(
          'INVALID_ARGUMENT',
          'ROLE_NOT_FOUND',
          `role must be one of ${roles.map((r) => r.name).join(', ')}, not "${role}"`,
          {
            field: 'role',
            role,
          },
        );
      }
      if (!scopePattern.test(scope)) {
        throw new Rejection(
          'INVALID_ARGUMENT',
          'SCOPE_INVALID',
          `scope must be "/", or a path under tenants/ or subscriptions/, not "${scope}"`,
          {
            field: 'scope',
            scope,
          },
        );
      }
      const { principal: principalId } = names.principal.parse(principal, 'principal');
      if (principalOnWire(await principals.load(principalId)).state !== 'ACTIVE') throw principalDeleted(principal);
      const permitted = () => permit(call, role, 'write', scope);
      const assigned = await assigning(id, { principal, role, scope }, clock.now(), call.cause, permitted);
      // Whoever deleted it meanwhile may have looked for its roles before this one was there.
      if ((await principals.load(principalId)).state.status !== 'active') {
        await assignments.transact(id, remove(clock.now()), call.cause);
        throw principalDeleted(principal);
      }
      return onWire(assigned);
    },
    async getRoleAssignment({ name }: GetRoleAssignmentRequest) {
      return onWire(await assignments.load(idOf(name)));
    },
    async listRoleAssignments(request: ListRoleAssignmentsRequest) {
      const { principal, scope } = request;
      const page = pageOf(request);
      if (principal !== '') {
        // The index of a principal is small; its page is cut here because the scope narrows it further.
        const held = (await ofPrincipal(principal)).filter(
          ({ state }) => scope === '' || (state.status === 'assigned' && state.scope === scope),
        );
        const items = held.filter(({ id }) => page.after === undefined || id > page.after);
        const next = items.length > page.limit ? items[page.limit - 1]?.id : undefined;
        return { roleAssignments: items.slice(0, page.limit).map(onWire), nextPageToken: pageToken(next) };
      }
      const { items, next } = await assignments.list({
        ...page,
        ...(scope === '' ? {} : { index: { index: 'scope', value: scope } }),
      });
      return {
        roleAssignments: items.filter(({ state }) => state.status === 'assigned').map(onWire),
        nextPageToken: pageToken(next),
      };
    },
    async deleteRoleAssignment(request: DeleteRoleAssignmentRequest, call: Call) {
      const { state } = await assignments.load(idOf(request.name));
      const [role, scope] = state.status === 'absent' ? ['', '/'] : [state.role, state.scope];
      await permit(call, role, 'delete', scope);
      await owners.removeAssignment(idOf(request.name), clock.now(), call.cause, expectedVersion(request.etag));
      return {};
    },
  };
};

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
