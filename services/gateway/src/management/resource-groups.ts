import { type Static, Type } from '@sinclair/typebox';
import type { Caller } from '../cloud/caller.ts';
import { scopeName } from '../cloud/names.ts';
import { RestError } from '../errors/rest-error.ts';
import { type Route, type RouteReply, type RouteRequest, route } from '../http/route.ts';
import type { PresentRecord, Records } from '../records/records.ts';
import { type ResourcePath, requireLocation, TagsBody } from './arm.ts';
import { type DeletionParts, GroupDeletion } from './group-deletion.ts';
import type { Require } from './permissions.ts';

const GroupBody = Type.Object({ location: Type.Optional(Type.String()), tags: Type.Optional(TagsBody) });
const GroupPatch = Type.Object({ tags: Type.Optional(TagsBody) });

/** What the routes of groups need. */
export interface GroupParts extends DeletionParts {
  readonly require: Require;
}

type GroupPath = ResourcePath;

const groupId = ({ subscription, group }: GroupPath): string =>
  `/subscriptions/${subscription}/resourceGroups/${group}`;

const validName = /^[\w().-]{1,90}$/;

const host = 'gateway';
const path = '/subscriptions/:subscription/resourceGroups/:group';
const operations = '/subscriptions/:subscription/operationresults';

/** Resource groups. Interlock services need none; clients do, and expect their region and tags back. */
export const resourceGroupRoutes = (parts: GroupParts): readonly Route[] => {
  const groups = new Groups(parts);
  return [...changingRoutes(groups), ...readingRoutes(groups), ...deletingRoutes(groups)];
};

const changingRoutes = (groups: Groups): readonly Route[] => [
  route({
    host,
    method: 'PUT',
    path,
    does: 'Creates or updates a resource group',
    body: GroupBody,
    handle: ({ params, body }, caller) => groups.put(params, body, caller),
  }),
  route({
    host,
    method: 'PATCH',
    path,
    does: 'Replaces the tags of a resource group',
    body: GroupPatch,
    handle: async ({ params, body }, caller) => {
      await groups.check('write', params, caller);
      const { content } = await groups.existing(params);
      const changed = { ...content, ...(body.tags && { tags: body.tags }) };
      const { record } = await groups.records.put(groupId(params), changed, caller);
      return { body: groupBody(record) };
    },
  }),
];

const readingRoutes = (groups: Groups): readonly Route[] => [
  route({
    host,
    method: 'GET',
    path,
    does: 'Reads a resource group',
    handle: async ({ params }, caller) => {
      await groups.check('read', params, caller);
      return { body: groupBody(await groups.existing(params)) };
    },
  }),
  route({
    host,
    method: 'HEAD',
    path,
    does: 'Says whether a resource group exists',
    handle: async ({ params }, caller) => {
      await groups.check('read', params, caller);
      return { status: (await groups.records.find(groupId(params))) === undefined ? 404 : 204 };
    },
  }),
  route({
    host,
    method: 'GET',
    path: '/subscriptions/:subscription/resourceGroups',
    does: 'Lists resource groups',
    handle: async ({ params }, caller) => {
      await groups.check('read', params, caller);
      const found = await groups.records.listBeside(groupId({ ...params, group: '-' }));
      return { body: { value: found.map(groupBody) } };
    },
  }),
];

const deletingRoutes = (groups: Groups): readonly Route[] => [
  route({
    host,
    method: 'DELETE',
    path,
    does: 'Deletes a resource group with everything in it',
    handle: (request, caller) => groups.delete(request, caller),
  }),
  route({
    host,
    method: 'GET',
    path: `${operations}/:operation`,
    does: 'Result of the deletion of a resource group: 202 until it has ended',
    handle: (request, caller) => groups.deletion(request, caller),
  }),
];

type DeletionRequest = Pick<RouteRequest<string, unknown>, 'headers' | 'query'>;

class Groups {
  readonly #parts: GroupParts;
  readonly #deletion: GroupDeletion;

  constructor(parts: GroupParts) {
    this.#parts = parts;
    this.#deletion = new GroupDeletion(parts);
  }

  get records(): Records {
    return this.#parts.records;
  }

  /** Checks the permission on a group, or on the subscription. */
  check(verb: string, path: Parameters<typeof scopeName>[1], caller: Caller): Promise<void> {
    const { names, require } = this.#parts;
    return require(caller, `management/resourceGroups/${verb}`, scopeName(names, path));
  }

  /** @throws RestError 404 */
  async existing(params: GroupPath): Promise<PresentRecord> {
    const record = await this.records.find(groupId(params));
    if (record !== undefined) return record;
    throw new RestError(404, 'ResourceGroupNotFound', `Resource group '${params.group}' could not be found.`);
  }

  async put(params: GroupPath, body: Static<typeof GroupBody>, caller: Caller): Promise<RouteReply> {
    if (!validName.test(params.group)) {
      throw new RestError(
        400,
        'InvalidResourceGroup',
        'The name of a resource group has 1 to 90 letters, digits, and _ ( ) . -',
      );
    }
    await this.check('write', params, caller);
    const before = await this.records.find(groupId(params));
    if (before?.content.deleting !== undefined) {
      const message = `The resource group '${params.group}' is being deleted: wait until it is gone.`;
      throw new RestError(409, 'ResourceGroupBeingDeleted', message);
    }
    const location = requireLocation(body.location ?? (before?.content.location as string | undefined));
    if (before !== undefined && before.content.location !== location) {
      throw wrongLocation(params.group, String(before.content.location));
    }
    const content = { location, tags: body.tags ?? {} };
    const { record, isNew } = await this.records.put(groupId(params), content, caller);
    return { status: isNew ? 201 : 200, body: groupBody(record) };
  }

  async delete(
    { params, ...request }: DeletionRequest & { readonly params: GroupPath },
    caller: Caller,
  ): Promise<RouteReply> {
    await this.check('delete', params, caller);
    const { content } = await this.existing(params);
    const { deletionError: _deletionError, ...rest } = content;
    const { record } = await this.records.put(groupId(params), { ...rest, deleting: true }, caller);
    if (content.deleting === undefined) this.#deletion.run(params, record, caller, request.headers);
    else this.#deletion.resume(params, record, caller, request.headers);
    return this.#accepted(params, request);
  }

  async deletion(
    {
      params,
      ...request
    }: DeletionRequest & { readonly params: { readonly subscription: string; readonly operation: string } },
    caller: Caller,
  ): Promise<RouteReply> {
    const { subscription, operation } = params;
    const group = Buffer.from(operation, 'base64url').toString();
    if (!validName.test(group)) throw new RestError(404, 'NotFound', 'The operation does not exist.');
    const path = { subscription, group };
    await this.check('delete', path, caller);
    const record = await this.records.find(groupId(path));
    if (record === undefined) return { status: 200 };
    const { deletionError } = record.content;
    if (deletionError !== undefined) {
      const { code, message } = deletionError as { readonly code: string; readonly message: string };
      throw new RestError(409, code, message);
    }
    // Created again after its deletion.
    if (record.content.deleting === undefined) return { status: 200 };
    this.#deletion.resume(path, record, caller, request.headers);
    return this.#accepted(path, request);
  }

  #accepted({ subscription, group }: GroupPath, { query }: DeletionRequest): RouteReply {
    const operation = Buffer.from(group.toLowerCase()).toString('base64url');
    const version = encodeURIComponent(query['api-version'] ?? '');
    const url = `${this.#parts.names.gateway}/subscriptions/${subscription}/operationresults/${operation}?api-version=${version}`;
    return { status: 202, headers: { location: url, 'retry-after': '1' } };
  }
}

const groupBody = ({ armId, content }: PresentRecord): unknown => ({
  id: armId,
  name: armId.split('/').at(-1),
  type: 'Microsoft.Resources/resourceGroups',
  location: content.location,
  tags: content.tags,
  properties: { provisioningState: content.deleting === undefined ? 'Succeeded' : 'Deleting' },
});

const wrongLocation = (group: string, location: string): RestError =>
  new RestError(
    409,
    'InvalidResourceGroupLocation',
    `Invalid resource group location. The Resource group '${group}' already exists in location '${location}'.`,
  );
