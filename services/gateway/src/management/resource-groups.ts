import { Type } from '@sinclair/typebox';
import type { Caller } from '../cloud/caller.ts';
import { type CloudNames, groupName } from '../cloud/names.ts';
import { RestError } from '../errors/rest-error.ts';
import { type Route, route } from '../http/route.ts';
import type { PresentRecord, Records } from '../records/records.ts';
import { requireLocation, TagsBody } from './arm.ts';
import type { Require } from './permissions.ts';

const GroupBody = Type.Object({ location: Type.Optional(Type.String()), tags: Type.Optional(TagsBody) });
const GroupPatch = Type.Object({ tags: Type.Optional(TagsBody) });

/** What the routes of groups need. */
export interface GroupParts {
  readonly names: CloudNames;
  readonly records: Records;
  readonly require: Require;
  /** What a group still has, as ARM ids: it is deleted only without resources. */
  readonly resourcesIn: (group: string, caller: Caller) => Promise<readonly string[]>;
}

interface GroupPath {
  readonly subscription: string;
  readonly group: string;
}

const groupId = ({ subscription, group }: GroupPath): string =>
  `/subscriptions/${subscription}/resourceGroups/${group}`;

const validName = /^[\w().-]{1,90}$/;

/** Resource groups. Our services need none; clients do, and expect their region and tags back. */
export const resourceGroupRoutes = (parts: GroupParts): readonly Route[] => {
  const { names, records, require } = parts;
  const host = 'gateway';
  const path = '/subscriptions/:subscription/resourceGroups/:group';
  const check = (verb: string, { subscription, group }: GroupPath, caller: Caller): Promise<void> =>
    require(caller, `management/resourceGroups/${verb}`, groupName(names, subscription, group));
  const existing = async (params: GroupPath): Promise<PresentRecord> => {
    const record = await records.find(groupId(params));
    if (record !== undefined) return record;
    throw new RestError(404, 'ResourceGroupNotFound', `Resource group '${params.group}' could not be found.`);
  };
  return [
    route({
      host,
      method: 'PUT',
      path,
      does: 'Creates or updates a resource group',
      body: GroupBody,
      handle: async ({ params, body }, caller) => {
        if (!validName.test(params.group))
          throw new RestError(
            400,
            'InvalidResourceGroup',
            'The name of a resource group has 1 to 90 letters, digits, and _ ( ) . -',
          );
        await check('write', params, caller);
        const before = await records.find(groupId(params));
        const location = requireLocation(body.location ?? (before?.content.location as string | undefined));
        if (before !== undefined && before.content.location !== location)
          throw wrongLocation(params.group, String(before.content.location));
        const { record, isNew } = await records.put(groupId(params), { location, tags: body.tags ?? {} }, caller);
        return { status: isNew ? 201 : 200, body: groupBody(record) };
      },
    }),
    route({
      host,
      method: 'PATCH',
      path,
      does: 'Replaces the tags of a resource group',
      body: GroupPatch,
      handle: async ({ params, body }, caller) => {
        await check('write', params, caller);
        const { content } = await existing(params);
        const { record } = await records.put(
          groupId(params),
          { ...content, ...(body.tags && { tags: body.tags }) },
          caller,
        );
        return { body: groupBody(record) };
      },
    }),
    route({
      host,
      method: 'GET',
      path,
      does: 'Reads a resource group',
      handle: async ({ params }, caller) => {
        await check('read', params, caller);
        return { body: groupBody(await existing(params)) };
      },
    }),
    route({
      host,
      method: 'HEAD',
      path,
      does: 'Says whether a resource group exists',
      handle: async ({ params }, caller) => {
        await check('read', params, caller);
        return { status: (await records.find(groupId(params))) === undefined ? 404 : 204 };
      },
    }),
    route({
      host,
      method: 'DELETE',
      path,
      does: 'Deletes an empty resource group',
      handle: async ({ params }, caller) => {
        await check('delete', params, caller);
        await existing(params);
        const left = await parts.resourcesIn(groupName(names, params.subscription, params.group), caller);
        if (left.length > 0) throw notEmpty(params.group, left);
        await records.delete(groupId(params), caller);
        return { status: 200 };
      },
    }),
    route({
      host,
      method: 'GET',
      path: '/subscriptions/:subscription/resourceGroups',
      does: 'Lists resource groups',
      handle: async ({ params }, caller) => {
        await require(caller, 'management/resourceGroups/read', `subscriptions/${names.subscriptions.inner(params.subscription)}`);
        const groups = await records.listBeside(groupId({ ...params, group: '-' }));
        return { body: { value: groups.map(groupBody) } };
      },
    }),
  ];
};

const groupBody = ({ armId, content }: PresentRecord): unknown => ({
  id: armId,
  name: armId.split('/').at(-1),
  type: 'Microsoft.Resources/resourceGroups',
  location: content.location,
  tags: content.tags,
  properties: { provisioningState: 'Succeeded' },
});

const wrongLocation = (group: string, location: string): RestError =>
  new RestError(
    409,
    'InvalidResourceGroupLocation',
    `Invalid resource group location. The Resource group '${group}' already exists in location '${location}'.`,
  );

const notEmpty = (group: string, left: readonly string[]): RestError =>
  new RestError(
    409,
    'ResourceGroupNotEmpty',
    `The resource group '${group}' has ${left.length} resources or more, the first is ${left[0]}: delete them first.`,
  );
