import { Type } from '@sinclair/typebox';
import type { Caller } from '../cloud/caller.ts';
import type { CloudNames } from '../cloud/names.ts';
import { RestError } from '../errors/rest-error.ts';
import type { Dispatch, OwnHeaders, OwnReply } from '../http/dispatch.ts';
import { type Route, type RouteReply, type RouteRequest, route } from '../http/route.ts';
import type { Records } from '../records/records.ts';
import { TagsBody } from './arm.ts';
import type { Require } from './permissions.ts';

/** What the routes of tags need. */
export interface TagParts {
  readonly dispatch: Dispatch;
  readonly names: CloudNames;
  readonly records: Records;
  readonly require: Require;
}

type Tags = Readonly<Record<string, string>>;

const TagsObject = Type.Object({
  operation: Type.Optional(Type.String({ maxLength: 20 })),
  properties: Type.Object({ tags: Type.Optional(TagsBody) }),
});

const host = 'gateway';
const subscription = '/subscriptions/:subscription';
const group = `${subscription}/resourceGroups/:group`;
const resource = `${group}/providers/:namespace/:type/:name`;
const suffix = '/providers/Microsoft.Resources/tags/default';
/** Any version works: the resource's own route does not read it. */
const version = 'api-version=2024-11-01';

/** Where a request reads and writes tags. */
interface TagScope {
  read(): Promise<Tags>;
  write(tags: Tags): Promise<Tags>;
}

type TagRequest = RouteRequest<string, unknown>;
type ScopeOf = (request: TagRequest, caller: Caller) => TagScope;

/** Tags at a scope: of a subscription, a resource group or a resource. */
export const tagRoutes = (parts: TagParts): readonly Route[] => [
  ...tagsAt(subscription, 'a subscription', ofSubscription(parts)),
  ...tagsAt(group, 'a resource group', ofResource(parts)),
  ...tagsAt(resource, 'a resource', ofResource(parts)),
];

const tagsAt = (scope: string, what: string, scopeOf: ScopeOf): readonly Route[] => {
  const path = `${scope}${suffix}`;
  const reply = (request: TagRequest, tags: Tags): RouteReply => ({
    body: {
      id: (request.url.split('?')[0] ?? '').replace(/\/$/, ''),
      name: 'default',
      type: 'Microsoft.Resources/tags',
      properties: { tags },
    },
  });
  return [
    route({
      host,
      method: 'GET',
      path,
      does: `Reads the tags of ${what}`,
      handle: async (request, caller) => reply(request, await scopeOf(request, caller).read()),
    }),
    route({
      host,
      method: 'PUT',
      path,
      does: `Replaces the tags of ${what}`,
      body: TagsObject,
      handle: async (request, caller) =>
        reply(request, await scopeOf(request, caller).write(request.body.properties.tags ?? {})),
    }),
    route({
      host,
      method: 'PATCH',
      path,
      does: `Merges, replaces or deletes tags of ${what}`,
      body: TagsObject,
      handle: async (request, caller) => {
        const { operation = 'Merge', properties } = request.body;
        const tags = scopeOf(request, caller);
        return reply(request, await tags.write(changedTags(await tags.read(), operation, properties.tags ?? {})));
      },
    }),
    route({
      host,
      method: 'DELETE',
      path,
      does: `Deletes the tags of ${what}`,
      handle: async (request, caller) => {
        await scopeOf(request, caller).write({});
        return { status: 200 };
      },
    }),
  ];
};

/** @throws RestError 400 for another operation */
const changedTags = (before: Tags, operation: string, given: Tags): Tags => {
  switch (operation.toLowerCase()) {
    case 'merge':
      return { ...before, ...given };
    case 'replace':
      return given;
    case 'delete':
      return Object.fromEntries(Object.entries(before).filter(([name, value]) => given[name] !== value));
    default:
      throw new RestError(
        400,
        'InvalidRequestContent',
        `operation must be Merge, Replace or Delete (got "${operation}")`,
      );
  }
};

/** Tags of a group or resource are with it: its own route checks the right of the caller. */
const ofResource =
  ({ dispatch }: TagParts): ScopeOf =>
  ({ url, headers }) => {
    const id = (url.split('?')[0] ?? '').slice(0, -suffix.length).replace(/\/$/, '');
    const send = async (method: 'GET' | 'PATCH', body?: unknown): Promise<Tags> => {
      const sent = { method, url: `${id}?${version}`, ...(body === undefined ? {} : { body }) };
      const tagged = tagsIn(await dispatch.send(sent, headers as OwnHeaders));
      return tagged;
    };
    return {
      read: () => send('GET'),
      async write(tags) {
        await send('PATCH', { tags });
        return tags;
      },
    };
  };

/** @throws RestError the refusal of the resource's own route */
const tagsIn = ({ status, body }: OwnReply): Tags => {
  const { tags = {}, error } = (body ?? {}) as {
    readonly tags?: Tags;
    readonly error?: { readonly code: string; readonly message: string };
  };
  if (status < 400) return tags;
  throw new RestError(status, error?.code ?? 'InternalServerError', error?.message ?? `status ${status}`);
};

const ofSubscription =
  ({ names, records, require }: TagParts): ScopeOf =>
  ({ params }, caller) => {
    const scope = `subscriptions/${names.subscriptions.inner((params as { subscription: string }).subscription)}`;
    const id = `/${scope}${suffix}`;
    return {
      async read() {
        await require(caller, 'management/tags/read', scope);
        return ((await records.find(id))?.content.tags ?? {}) as Tags;
      },
      async write(tags) {
        await require(caller, 'management/tags/write', scope);
        await records.put(id, { tags }, caller);
        return tags;
      },
    };
  };
