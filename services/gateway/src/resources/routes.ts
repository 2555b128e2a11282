import { Rejection } from '@interlock/event-store';
import type { Caller } from '../cloud/caller.ts';
import { RestError } from '../errors/rest-error.ts';
import { type Route, type RouteRequest, route } from '../http/route.ts';
import { type FilterTerms, filterOf } from './filter.ts';
import type { Row } from './graph-operators.ts';
import { type ResourceGraphParts, resourceGraphRoutes } from './graph-routes.ts';

/** A resource in a list of all types. */
interface ListedResource {
  readonly id: string;
  readonly name: string;
  readonly type: string;
  readonly location?: string;
  readonly tags?: Readonly<Record<string, string>>;
  readonly sku?: unknown;
}

/** A resource as the list of its type has it. */
type Item = ListedResource & Row;

/** Members that a `$filter` may compare. */
const filterMembers = ['resourcetype', 'name', 'resourcegroup', 'location', 'tagname', 'tagvalue'];

const subscriptionPath = '/subscriptions/:subscription';
const groupPath = `${subscriptionPath}/resourceGroups/:group`;
const typeOfList = /^\/subscriptions\/:subscription(\/resourceGroups\/:group)?\/providers\/([^/:]+\/[^/:]+)$/;

/** Types of the table that are no resources of a group. */
const others = /^Microsoft\.(Authorization|Insights)\/|\/(deletedVaults|managedHSMs|deletedManagedHSMs|skus)$/;

/** The lists of the table, of groups and of subscriptions, with the type of each. */
const listsIn = (routes: readonly Route[]) =>
  routes.flatMap((row) => {
    const [, inGroup, type] = (row.method === 'GET' && typeOfList.exec(row.path)) || [];
    return type === undefined || others.test(type) ? [] : [{ row, type, inGroup: inGroup !== undefined }];
  });

/** Lists and queries over all types, and the types themselves: all are made of the other routes. @param routes that are served */
export const resourceRoutes = (
  routes: readonly Route[],
  parts: Omit<ResourceGraphParts, 'resourcesOf'>,
): readonly Route[] => {
  const lists = listsIn(routes);
  const ofSubscription = lists.filter(({ inGroup }) => !inGroup);
  const resourcesOf = async (request: RouteRequest<string, unknown>, subscription: string, caller: Caller) => {
    const inSubscription = { ...request, params: { subscription }, query: {} };
    return (await Promise.all(ofSubscription.map(({ row }) => everyItem(row, inSubscription, caller)))).flat();
  };
  const common = { host: 'gateway', method: 'GET' } as const;
  const listAll = async (request: RouteRequest<string, unknown>, caller: Caller, inGroup: boolean) => {
    const terms = filterOf(request.query.$filter, filterMembers);
    const wanted = terms.resourcetype?.toLowerCase();
    const rows = lists.filter(
      (list) => list.inGroup === inGroup && (wanted === undefined || list.type.toLowerCase() === wanted),
    );
    const found = await Promise.all(rows.map(({ row }) => everyItem(row, request, caller)));
    const value = found
      .flat()
      .map(listedOf)
      .filter((one) => fits(one, terms));
    return { body: { value: request.query.$top === undefined ? value : value.slice(0, Number(request.query.$top)) } };
  };
  return [
    route({
      ...common,
      path: `${subscriptionPath}/resources`,
      does: 'Lists the resources of a subscription; `$filter` by resourceType, name, resourceGroup, location, tagName',
      handle: (request, caller) => listAll(request, caller, false),
    }),
    route({
      ...common,
      path: `${groupPath}/resources`,
      does: 'Lists the resources of a group; the same filters',
      handle: (request, caller) => listAll(request, caller, true),
    }),
    route({
      ...common,
      path: `${subscriptionPath}/tagNames`,
      does: 'Lists the tags of all resources',
      handle: async (request, caller) => {
        const { subscription } = request.params;
        return { body: { value: tagNames(subscription, await resourcesOf(request, subscription, caller)) } };
      },
    }),
    ...resourceGraphRoutes({ ...parts, resourcesOf }),
    ...providerRoutes(lists.map(({ type }) => type)),
  ];
};

/** Every item of a list, page by page; none where the caller may not read the type. */
const everyItem = async (
  row: Route,
  request: RouteRequest<string, unknown>,
  caller: Caller,
): Promise<readonly Item[]> => {
  const items: Item[] = [];
  let token: string | null = '';
  try {
    while (token !== null) {
      const query: Readonly<Record<string, string>> = token === '' ? {} : { $skiptoken: token };
      const { body } = await row.handle({ ...request, query }, caller);
      const { value, nextLink } = body as { readonly value: readonly Item[]; readonly nextLink?: string };
      items.push(...value);
      token = nextLink === undefined ? null : new URL(nextLink).searchParams.get('$skiptoken');
    }
  } catch (error) {
    const isDenied =
      (error instanceof Rejection && error.code === 'PERMISSION_DENIED') ||
      (error instanceof RestError && error.status === 403);
    if (!isDenied) throw error;
  }
  return items;
};

const listedOf = ({ id, name, type, location, tags, sku }: Item): ListedResource =>
  Object.fromEntries(
    Object.entries({ id, name, type, location, tags, sku }).filter(([, value]) => value !== undefined),
  ) as unknown as ListedResource;

/** Tags with their values, and how many resources have each. */
const tagNames = (subscription: string, items: readonly Item[]): readonly unknown[] => {
  const found = new Map<string, Map<string, number>>();
  for (const [name, value] of items.flatMap(({ tags }) => Object.entries(tags ?? {}))) {
    const values = found.get(name) ?? new Map<string, number>();
    found.set(name, values.set(value, (values.get(value) ?? 0) + 1));
  }
  return [...found].map(([tagName, values]) => {
    const id = `/subscriptions/${subscription}/tagNames/${tagName}`;
    const count = (value: number) => ({ type: 'Total', value });
    return {
      id,
      tagName,
      count: count([...values.values()].reduce((sum, one) => sum + one, 0)),
      values: [...values].map(([tagValue, n]) => ({ id: `${id}/tagValues/${tagValue}`, tagValue, count: count(n) })),
    };
  });
};

const fits = (one: ListedResource, terms: FilterTerms): boolean => {
  const same = (value: string | undefined, wanted: string | undefined): boolean =>
    wanted === undefined || value?.toLowerCase() === wanted.toLowerCase();
  const { tagname, tagvalue } = terms;
  const tags = Object.entries(one.tags ?? {});
  return (
    same(one.name, terms.name) &&
    same(one.id.split('/')[4], terms.resourcegroup) &&
    same(one.location, terms.location?.replaceAll(' ', '')) &&
    (tagname === undefined || tags.some(([name, value]) => same(name, tagname) && (tagvalue ?? value) === value))
  );
};

/** A version that every client accepts; all behave the same here. */
const apiVersions = ['2025-01-02', '2024-11-01', '2024-07-01', '2023-04-02', '2023-02-01', '2022-04-01'];

const providerRoutes = (listed: readonly string[]): readonly Route[] => {
  const types = [
    ...new Set([...listed, 'Microsoft.Authorization/roleAssignments', 'Microsoft.Resources/resourceGroups']),
  ];
  const namespaces = [...new Set(types.map((type) => type.split('/')[0] ?? ''))].toSorted();
  const providerBody = (subscription: string, namespace: string): unknown => ({
    id: `/subscriptions/${subscription}/providers/${namespace}`,
    namespace,
    registrationPolicy: 'RegistrationRequired',
    registrationState: 'Registered',
    resourceTypes: types
      .filter((type) => type.startsWith(`${namespace}/`))
      .map((type) => ({ resourceType: type.slice(namespace.length + 1), locations: [], apiVersions })),
  });
  const find = (given: string): string => {
    const found = namespaces.find((one) => one.toLowerCase() === given.toLowerCase());
    if (found !== undefined) return found;
    const message = `The resource namespace '${given.slice(0, 100)}' is invalid: served are ${namespaces.join(', ')}.`;
    throw new RestError(404, 'InvalidResourceNamespace', message);
  };
  const path = `${subscriptionPath}/providers` as const;
  return [
    route({
      host: 'gateway',
      method: 'GET',
      path,
      does: 'Lists resource providers and their types',
      handle: ({ params }) => ({ body: { value: namespaces.map((one) => providerBody(params.subscription, one)) } }),
    }),
    route({
      host: 'gateway',
      method: 'GET',
      path: `${path}/:namespace`,
      does: 'Reads a resource provider',
      handle: ({ params }) => ({ body: providerBody(params.subscription, find(params.namespace)) }),
    }),
    route({
      host: 'gateway',
      method: 'POST',
      path: `${path}/:namespace/register`,
      does: 'Registers a resource provider: all are registered',
      handle: ({ params }) => ({ body: providerBody(params.subscription, find(params.namespace)) }),
    }),
  ];
};
