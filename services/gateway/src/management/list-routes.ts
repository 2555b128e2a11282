import type { Caller } from '../cloud/caller.ts';
import { type CloudNames, groupName } from '../cloud/names.ts';
import { listBody, pageOf } from '../http/paging.ts';
import { type Route, type RouteRequest, route } from '../http/route.ts';

/** One page of a list, as the client reads its items. */
export interface ListPage {
  readonly value: readonly unknown[];
  /** Token of the next page; empty on the last. */
  readonly next: string;
}

/** What a request for a list selects. */
export interface ListQuery {
  /** `subscriptions/<s>[/resourceGroups/<g>]`, with Interlock ids. */
  readonly parent: string;
  readonly pageSize: number;
  readonly pageToken: string;
  readonly query: Readonly<Record<string, string>>;
}

/** The two lists of a resource type: of a group, and of a subscription. */
export const listRoutes = (options: {
  readonly names: CloudNames;
  /** For example `Microsoft.Compute/disks`. */
  readonly type: string;
  /** For the documentation. */
  readonly what: string;
  readonly list: (query: ListQuery, caller: Caller) => Promise<ListPage>;
}): readonly Route[] => {
  const { names, type, what, list } = options;
  const reply = async (parent: string, request: RouteRequest<string, unknown>, caller: Caller) => {
    const { value, next } = await list({ parent, ...pageOf(request), query: request.query }, caller);
    return { body: listBody(request, value, next) };
  };
  const common = { host: 'gateway', method: 'GET' } as const;
  return [
    route({
      ...common,
      path: `/subscriptions/:subscription/resourceGroups/:group/providers/${type}` as const,
      does: `Lists the ${what} of a group`,
      handle: (request, caller) => {
        const { subscription = '', group = '' } = request.params as Readonly<Record<string, string>>;
        return reply(groupName(names, subscription, group), request, caller);
      },
    }),
    route({
      ...common,
      path: `/subscriptions/:subscription/providers/${type}` as const,
      does: `Lists the ${what} of a subscription`,
      handle: (request, caller) => {
        const { subscription = '' } = request.params as Readonly<Record<string, string>>;
        return reply(`subscriptions/${names.subscriptions.inner(subscription)}`, request, caller);
      },
    }),
  ];
};
