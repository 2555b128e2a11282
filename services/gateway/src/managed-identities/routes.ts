import type { JsonObject } from '@interlock/event-store';
import type { Random } from '@interlock/runtime';
import { Type } from '@sinclair/typebox';
import type { Backends } from '../cloud/backends.ts';
import type { Caller } from '../cloud/caller.ts';
import { ifFound } from '../cloud/if-found.ts';
import { type CloudNames, groupName } from '../cloud/names.ts';
import { listBody } from '../http/paging.ts';
import { type Route, type RouteReply, route } from '../http/route.ts';
import { armId, type ResourcePath, requireLocation, resourceNotFound, TagsBody } from '../management/arm.ts';
import type { Require } from '../management/permissions.ts';
import type { RecordContent } from '../records/record.ts';
import type { PresentRecord, Records } from '../records/records.ts';

/** What the routes of user-assigned identities need. */
export interface IdentityParts {
  readonly backends: Pick<Backends, 'identity'>;
  readonly names: CloudNames;
  readonly records: Records;
  readonly random: Random;
  readonly require: Require;
}

/** Type of user-assigned identities. */
export const identityType = 'Microsoft.ManagedIdentity/userAssignedIdentities';

const Body = Type.Object({
  location: Type.Optional(Type.String({ maxLength: 64 })),
  tags: Type.Optional(TagsBody),
});

const host = 'gateway';
const provider = 'providers/Microsoft.ManagedIdentity/userAssignedIdentities';
const inGroup = `/subscriptions/:subscription/resourceGroups/:group/${provider}` as const;
const path = `${inGroup}/:name` as const;

interface IdentityPath extends ResourcePath {
  readonly name: string;
}

/** User-assigned identities: principals of the directory without a secret, which disk encryption sets can be given (CMK-40). */
export const managedIdentityRoutes = (parts: IdentityParts): readonly Route[] => {
  const identities = new Identities(parts);
  const shown = (record: PresentRecord) => identityBody(parts.names, record);
  return [
    route({
      host,
      method: 'PUT',
      path,
      does: 'Creates a user-assigned identity, or replaces its tags',
      body: Body,
      async handle({ params, body }, caller) {
        const { record, isNew } = await identities.put(params, body, caller);
        return { status: isNew ? 201 : 200, body: shown(record) };
      },
    }),
    route({
      host,
      method: 'PATCH',
      path,
      does: 'Replaces the tags of a user-assigned identity',
      body: Body,
      async handle({ params, body }, caller) {
        const { content } = await identities.get(params, caller);
        const { record } = await identities.put(params, { location: String(content.location), ...body }, caller);
        return { body: shown(record) };
      },
    }),
    route({
      host,
      method: 'GET',
      path,
      does: 'Reads a user-assigned identity',
      handle: async ({ params }, caller) => ({ body: shown(await identities.get(params, caller)) }),
    }),
    route({
      host,
      method: 'DELETE',
      path,
      does: 'Deletes a user-assigned identity: sets that have it lose their keys',
      handle: ({ params }, caller) => identities.delete(params, caller),
    }),
    ...[inGroup, `/subscriptions/:subscription/${provider}` as const].map((list) =>
      route({
        host,
        method: 'GET',
        path: list,
        does: `Lists user-assigned identities of a ${list === inGroup ? 'group' : 'subscription'}`,
        async handle(request, caller) {
          const found = await identities.list(request.params, caller);
          return { body: listBody(request, found.map(shown), '') };
        },
      }),
    ),
  ];
};

/** The identity as clients read it. */
const identityBody = (names: CloudNames, { armId: id, content }: PresentRecord): unknown => ({
  id,
  name: id.split('/').at(-1),
  type: identityType,
  location: content.location,
  tags: content.tags ?? {},
  properties: {
    tenantId: names.tenants.shown(String(content.tenant)),
    principalId: content.principal,
    clientId: content.principal,
  },
});

/** Identities by their ARM path. Their principals are those of identity; the path is known to management alone. */
class Identities {
  readonly #parts: IdentityParts;

  constructor(parts: IdentityParts) {
    this.#parts = parts;
  }

  async put(path: IdentityPath, { location, tags = {} }: { location?: string; tags?: JsonObject }, caller: Caller) {
    const { backends, records, random } = this.#parts;
    await this.#check('write', path, caller);
    const id = idOf(path);
    const before = (await records.find(id))?.content;
    const content: RecordContent = {
      location: requireLocation(location),
      tags,
      principal: before?.principal ?? random.uuid(),
      tenant: caller.tenant,
    };
    await backends.identity.createPrincipal(
      {
        principalId: String(content.principal),
        tenant: `tenants/${caller.tenant}`,
        type: 'MANAGED_IDENTITY',
        displayName: path.name,
      },
      caller.as('identity'),
    );
    return records.put(id, content, caller);
  }

  /** @throws RestError 404 */
  async get(path: IdentityPath, caller: Caller): Promise<PresentRecord> {
    await this.#check('read', path, caller);
    const record = await this.#parts.records.find(idOf(path));
    if (record !== undefined) return record;
    throw resourceNotFound(path, identityType, path.name);
  }

  async delete(path: IdentityPath, caller: Caller): Promise<RouteReply> {
    const { backends, records } = this.#parts;
    await this.#check('delete', path, caller);
    const record = await records.find(idOf(path));
    if (record === undefined) return { status: 204 };
    const name = `principals/${String(record.content.principal)}`;
    await ifFound(backends.identity.deletePrincipal({ name, confirmName: name }, caller.as('identity')));
    await records.delete(record.armId, caller);
    return { status: 200 };
  }

  /** Of a group, or of the whole subscription. */
  async list(
    path: { readonly subscription: string; readonly group?: string },
    caller: Caller,
  ): Promise<readonly PresentRecord[]> {
    await this.#check('read', path, caller);
    const { records } = this.#parts;
    const { subscription, group } = path;
    return group === undefined
      ? records.listOfType(subscription, identityType)
      : records.listBeside(armId({ subscription, group }, identityType, '-'));
  }

  #check(
    verb: string,
    { subscription, group }: { readonly subscription: string; readonly group?: string },
    caller: Caller,
  ): Promise<void> {
    const { names, require } = this.#parts;
    const scope =
      group === undefined
        ? `subscriptions/${names.subscriptions.inner(subscription)}`
        : groupName(names, subscription, group);
    return require(caller, `identity/userAssignedIdentities/${verb}`, scope);
  }
}

const idOf = ({ name, ...path }: IdentityPath): string => armId(path, identityType, name);
