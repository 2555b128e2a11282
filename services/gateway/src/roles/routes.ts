import type { Role, RoleAssignment } from '@interlock/contracts/interlock/identity/v1/role.ts';
import { Rejection } from '@interlock/event-store';
import { Type } from '@sinclair/typebox';
import type { Backends } from '../cloud/backends.ts';
import type { Caller } from '../cloud/caller.ts';
import type { CloudNames } from '../cloud/names.ts';
import { RestError } from '../errors/rest-error.ts';
import { type Route, type RouteReply, route } from '../http/route.ts';
import { type RoleFilter, roleFilterOf } from './filter.ts';
import { assignmentBody, definitionBody, innerScope, type ScopePath, shownScope } from './role-body.ts';

/** What the routes of roles need. */
export interface RoleParts {
  readonly backends: Pick<Backends, 'identity'>;
  readonly names: CloudNames;
}

const AssignmentBody = Type.Object({
  properties: Type.Object({
    roleDefinitionId: Type.String({ maxLength: 500 }),
    principalId: Type.String({ maxLength: 64 }),
  }),
});

const subscription = '/subscriptions/:subscription';
const group = `${subscription}/resourceGroups/:group`;
const resource = `${group}/providers/:namespace/:type/:name`;

/** Scopes that a role can be given at: a subscription, a group, a resource, a key. */
const scopes = [subscription, group, resource, `${resource}/keys/:key`] as const;

/** Most entries of a list. */
const pageSize = 1_000;

/** Role assignments and role definitions, at every scope. */
export const roleRoutes = (parts: RoleParts): readonly Route[] => [
  ...scopes.flatMap((scope) => [...assignmentRoutes(parts, scope), ...definitionRoutes(parts, scope)]),
  ...definitionRoutes(parts, ''),
];

const host = 'gateway';

const assignmentRoutes = (parts: RoleParts, scope: string): readonly Route[] => {
  const { names } = parts;
  const roles = new Roles(parts);
  const path = `${scope}/providers/Microsoft.Authorization/roleAssignments`;
  const one = `${path}/:id`;
  const idOf = (params: Readonly<Record<string, string>>): string => (params.id ?? '').toLowerCase();
  return [
    route({
      host,
      method: 'PUT',
      path: one,
      does: 'Gives a role',
      body: AssignmentBody,
      handle: async ({ params, body }, caller) => {
        const { roleDefinitionId, principalId } = body.properties;
        return roles.assign(
          idOf(params),
          innerScope(names, scopeOf(params)),
          { roleDefinitionId, principalId },
          caller,
        );
      },
    }),
    route({
      host,
      method: 'GET',
      path: one,
      does: 'Reads a role assignment',
      handle: async ({ params }, caller) => ({
        body: await roles.shown(await roles.get(idOf(params), caller), caller),
      }),
    }),
    route({
      host,
      method: 'DELETE',
      path: one,
      does: 'Takes a role away',
      handle: async ({ params }, caller) => roles.remove(idOf(params), caller),
    }),
    route({
      host,
      method: 'GET',
      path,
      does: 'Lists role assignments; `$filter` is atScope(), principalId eq, or assignedTo()',
      handle: async ({ params, query }, caller) => ({
        body: { value: await roles.list(innerScope(names, scopeOf(params)), roleFilterOf(query.$filter), caller) },
      }),
    }),
  ];
};

const definitionRoutes = (parts: RoleParts, scope: string): readonly Route[] => {
  const roles = new Roles(parts);
  const path = `${scope}/providers/Microsoft.Authorization/roleDefinitions`;
  // The command line finds the definition of an assignment by its id, which is below the subscription whatever the scope.
  const shownAt = ({ subscription: id }: Readonly<Record<string, string>>) =>
    id === undefined ? '/' : shownScope(parts.names, innerScope(parts.names, { subscription: id }));
  return [
    route({
      host,
      method: 'GET',
      path,
      does: 'Lists built-in roles; `$filter` is roleName eq',
      handle: async ({ params, query }, caller) => {
        const { roleName } = roleFilterOf(query.$filter);
        const found = (await roles.definitions(caller)).filter(
          ({ title }) => roleName === undefined || title.toLowerCase() === roleName,
        );
        return { body: { value: found.map((role) => definitionBody(shownAt(params), role)) } };
      },
    }),
    route({
      host,
      method: 'GET',
      path: `${path}/:id`,
      does: 'Reads a built-in role',
      handle: async ({ params }, caller) => {
        const given: Readonly<Record<string, string>> = params;
        const id = (given.id ?? '').toLowerCase();
        const role = (await roles.definitions(caller)).find(({ definitionId }) => definitionId === id);
        if (role === undefined) throw noSuchRole(id, 404);
        return { body: definitionBody(shownAt(params), role) };
      },
    }),
  ];
};

const scopeOf = (params: Readonly<Record<string, string>>): ScopePath => params as unknown as ScopePath;

const noSuchRole = (id: string, status: number): RestError =>
  new RestError(
    status,
    'RoleDefinitionDoesNotExist',
    `The specified role definition with ID '${id.slice(0, 100)}' does not exist.`,
  );

/** @returns no assignments for a refusal of the permission to read; @throws every other error */
const unlessDenied = (error: unknown): readonly RoleAssignment[] => {
  if (error instanceof Rejection && error.code === 'PERMISSION_DENIED') return [];
  throw error;
};

class Roles {
  readonly #parts: RoleParts;

  constructor(parts: RoleParts) {
    this.#parts = parts;
  }

  /** Roles that the public cloud has too. */
  async definitions(caller: Caller): Promise<readonly Role[]> {
    const { roles } = await this.#parts.backends.identity.listRoles({ pageSize }, caller.as('identity'));
    return roles.filter(({ definitionId }) => definitionId !== '');
  }

  async assign(
    id: string,
    scope: string,
    wanted: { readonly roleDefinitionId: string; readonly principalId: string },
    caller: Caller,
  ): Promise<RouteReply> {
    const { identity } = this.#parts.backends;
    const definition = wanted.roleDefinitionId.toLowerCase().split('/').at(-1) ?? '';
    const roles = await this.definitions(caller);
    const role = roles.find(({ definitionId }) => definitionId === definition);
    if (role === undefined) throw noSuchRole(definition, 400);
    const before = await this.#find(id, caller);
    const principal = `principals/${wanted.principalId.toLowerCase()}`;
    const request = { roleAssignmentId: id, principal, role: role.name, scope };
    const assignment = await identity.createRoleAssignment(request, caller.as('identity'));
    return { status: before === undefined ? 201 : 200, body: assignmentBody(this.#parts.names, assignment, roles) };
  }

  async get(id: string, caller: Caller): Promise<RoleAssignment> {
    return this.#parts.backends.identity.getRoleAssignment({ name: `roleAssignments/${id}` }, caller.as('identity'));
  }

  async remove(id: string, caller: Caller): Promise<RouteReply> {
    const found = await this.#find(id, caller);
    if (found === undefined) return { status: 204 };
    await this.#parts.backends.identity.deleteRoleAssignment({ name: found.name }, caller.as('identity'));
    return { body: await this.shown(found, caller) };
  }

  /**
   * Assignments at a scope and above it; without `atScope()` also below it. Scopes other than this one are left out if the caller may
   * not read them.
   */
  async list(scope: string, { principalId, isAtScope }: RoleFilter, caller: Caller): Promise<readonly unknown[]> {
    const principal = principalId === undefined ? '' : `principals/${principalId}`;
    const segments = scope.split('/');
    const above = [2, 4, 6].filter((end) => end < segments.length).map((end) => segments.slice(0, end).join('/'));
    const [own, all, ...rest] = await Promise.all([
      this.#listAt(scope, principal, caller),
      isAtScope ? [] : this.#listAt('', principal, caller).catch(unlessDenied),
      ...above.map((one) => this.#listAt(one, principal, caller).catch(unlessDenied)),
    ]);
    const below = all.filter((one) => one.scope.startsWith(`${scope}/`));
    const roles = await this.definitions(caller);
    return [own, below, ...rest].flat().map((one) => assignmentBody(this.#parts.names, one, roles));
  }

  /** Assignments at exactly this scope. */
  async #listAt(scope: string, principal: string, caller: Caller): Promise<readonly RoleAssignment[]> {
    const found: RoleAssignment[] = [];
    let pageToken = '';
    do {
      const request = { principal, scope, pageSize, pageToken };
      const page = await this.#parts.backends.identity.listRoleAssignments(request, caller.as('identity'));
      found.push(...page.roleAssignments);
      pageToken = page.nextPageToken;
    } while (pageToken !== '');
    return found;
  }

  async shown(assignment: RoleAssignment, caller: Caller): Promise<unknown> {
    return assignmentBody(this.#parts.names, assignment, await this.definitions(caller));
  }

  async #find(id: string, caller: Caller): Promise<RoleAssignment | undefined> {
    try {
      return await this.get(id, caller);
    } catch (error) {
      if (error instanceof Rejection && error.code === 'NOT_FOUND') return undefined;
      throw error;
    }
  }
}
