import { Rejection } from '@interlock/event-store';
import type { Caller } from '../cloud/caller.ts';
import { RestError } from '../errors/rest-error.ts';
import { type Route, type RouteRequest, route } from '../http/route.ts';
import { type FilterTerms, filterOf } from './filter.ts';

/** A resource in a list of all types. */
interface ListedResource {
  readonly id: string;
  readonly name: string;
  readonly type: string;
  readonly location?: string;
  readonly tags?: Readonly<Record<string, string>>;
  readonly sku?: unknown;
}

/** Members that a `$filter` may compare. */
const filterMembers = ['resourcetype', 'name', 'resourcegroup', 'location', 'tagname', 'tagvalue'];

const subscriptionPath = '/subscriptions/:subscription';
const groupPath = `${subscriptionPath}/resourceGroups/:group`;
const typeOfList = /^\/subscriptions\/:subscription(\/resourceGroups\/:group)?\/providers\/([^/:]+\/[^/:]+)$/;

/** Types of the table that are no resources of a group. */
const others = /^Microsoft\.(Authorization|Insights)\/|\/(deletedVaults|managedHSMs|deletedManagedHSMs)$/;

/** The lists of the table, of groups and of subscriptions, with the type of each. */
const listsIn = (routes: readonly Route[]) =>
  routes.flatMap((row) => {
    const [, inGroup, type] = (row.method === 'GET' && typeOfList.exec(row.path)) || [];
    return type === undefined || others.test(type) ? [] : [{ row, type, inGroup: inGroup !== undefined }];
  });

/** Lists over all types, and the types themselves: both are made of the other routes. @param routes that are served */
export const resourceRoutes = (routes: readonly Route[]): readonly Route[] => {
  const lists = listsIn(routes);
  const common = { host: 'gateway', method: 'GET' } as const;
  const listAll = async (request: RouteRequest<string, unknown>, caller: Caller, inGroup: boolean) => {
    const terms = filterOf(request.query.$filter, filterMembers);
    const wanted = terms.resourcetype?.toLowerCase();
    const rows = lists.filter(
      (list) => list.inGroup === inGroup && (wanted === undefined || list.type.toLowerCase() === wanted),
    );
    const found = await Promise.all(rows.map(({ row }) => everyItem(row, request, caller)));
    const value = found.flat().filter((one) => fits(one, terms));
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
    ...providerRoutes(lists.map(({ type }) => type)),
  ];
};

/** Every item of a list, page by page; none where the caller may not read the type. */
const everyItem = async (
  row: Route,
  request: RouteRequest<string, unknown>,
  caller: Caller,
): Promise<readonly ListedResource[]> => {
  const items: ListedResource[] = [];
  let token: string | null = '';
  try {
    while (token !== null) {
      const query: Readonly<Record<string, string>> = token === '' ? {} : { $skiptoken: token };
      const { body } = await row.handle({ ...request, query }, caller);
      const { value, nextLink } = body as { readonly value: readonly ListedResource[]; readonly nextLink?: string };
      items.push(
        ...value.map(({ id, name, type, location, tags, sku }) => listedOf({ id, name, type, location, tags, sku })),
      );
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

const listedOf = (one: { readonly [Member in keyof ListedResource]: ListedResource[Member] | undefined }) =>
  Object.fromEntries(Object.entries(one).filter(([, value]) => value !== undefined)) as unknown as ListedResource;

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
