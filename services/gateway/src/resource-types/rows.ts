import type { TSchema } from '@sinclair/typebox';
import type { Caller } from '../cloud/caller.ts';
import type { NamedPath } from '../cloud/resource-names.ts';
import type { Route, RouteReply, RouteRequest } from '../http/route.ts';

/** A request about one resource. */
export interface ResourceRequest<Given, Path = NamedPath> extends Omit<RouteRequest<string, Given>, 'params'> {
  readonly params: Path;
}

/** What a list is of: a group, or a subscription. */
export interface ListPath {
  readonly subscription: string;
  readonly group?: string;
}

/** A request for a list. */
export interface ListRequest extends Omit<RouteRequest<string, unknown>, 'params'> {
  readonly params: ListPath;
}

/** What the rows of a resource type do, for the documentation. */
export interface RowTexts {
  readonly put: string;
  readonly patch: string;
  readonly get: string;
  readonly delete: string;
  /** What the lists contain, for example `disks`. */
  readonly list: string;
}

/** What is declared of a resource type for its rows in the route table. All types accept the same versions (REST-01). */
export interface ResourceType<Given, Patch = Given> {
  /** For example `Microsoft.Compute/disks`. */
  readonly type: string;
  /** What the path calls the name of a resource. Default: `name`. */
  readonly param?: string;
  readonly does: RowTexts;
  /** Schema of a PUT. */
  readonly body: TSchema & { readonly static: Given };
  /** Schema of a PATCH. */
  readonly patch: TSchema & { readonly static: Patch };
}

/** What answers the requests of a resource type. */
export interface ResourceCalls<Given, Patch = Given, Path = NamedPath> {
  put(request: ResourceRequest<Given, Path>, caller: Caller): Promise<RouteReply>;
  patch(request: ResourceRequest<Patch, Path>, caller: Caller): Promise<RouteReply>;
  read(request: ResourceRequest<unknown, Path>, caller: Caller): Promise<RouteReply>;
  remove(request: ResourceRequest<unknown, Path>, caller: Caller): Promise<RouteReply>;
  list(request: ListRequest, caller: Caller): Promise<RouteReply>;
}

/** Path of a resource of a type. */
export const pathOf = <Type extends string, Param extends string = 'name'>(type: Type, param = 'name' as Param) =>
  `/subscriptions/:subscription/resourceGroups/:group/providers/${type}/:${param}` as const;

/** The rows that every resource type has: write, read and delete a resource, and the lists of a group and of a subscription. */
export const rowsOf = <Given, Patch, Path = NamedPath>(
  { type, param = 'name', does, body, patch }: ResourceType<Given, Patch>,
  calls: ResourceCalls<Given, Patch, Path>,
): readonly Route[] => {
  const common = { host: 'gateway', access: 'management', versioned: true } as const;
  const one = { ...common, path: pathOf(type, param) };
  const lists = { ...common, method: 'GET', handle: handler(calls.list.bind(calls)) } as const;
  return [
    { ...one, method: 'PUT', does: does.put, body, handle: handler(calls.put.bind(calls)) },
    { ...one, method: 'PATCH', does: does.patch, body: patch, handle: handler(calls.patch.bind(calls)) },
    { ...one, method: 'GET', does: does.get, handle: handler(calls.read.bind(calls)) },
    { ...one, method: 'DELETE', does: does.delete, handle: handler(calls.remove.bind(calls)) },
    {
      ...lists,
      path: `/subscriptions/:subscription/resourceGroups/:group/providers/${type}`,
      does: `Lists the ${does.list} of a group`,
    },
    {
      ...lists,
      path: `/subscriptions/:subscription/providers/${type}`,
      does: `Lists the ${does.list} of a subscription`,
    },
  ];
};

/** The router hands over a request only after its path and body fit. */
const handler = <Request>(handle: (request: Request, caller: Caller) => Promise<RouteReply>): Route['handle'] =>
  handle as unknown as Route['handle'];
