import {
  type Principal,
  Principal_Type as PrincipalType,
} from '@interlock/contracts/interlock/identity/v1/principal.ts';
import { Rejection } from '@interlock/event-store';
import { Type } from '@sinclair/typebox';
import type { Backends } from '../cloud/backends.ts';
import type { Caller } from '../cloud/caller.ts';
import { RestError } from '../errors/rest-error.ts';
import { type Route, refusedRoute, route } from '../http/route.ts';
import { directoryFilterOf, servicePrincipalType } from './filter.ts';

/** What the routes of the directory need. */
export interface GraphParts {
  readonly backends: Pick<Backends, 'identity'>;
}

/** Most ids that a request may name, as in the public cloud. */
const idsMax = 1_000;
/** Ids looked up at the same time. */
const lookupsAtOnce = 20;

const IdsBody = Type.Object({ ids: Type.Array(Type.String({ maxLength: 64 }), { maxItems: idsMax }) });

const uuid = /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/i;

const common = { host: 'gateway', access: 'directory', versioned: false } as const;

/** The directory: what clients read of principals. A principal has one id here: object id and application id are equal. */
export const graphRoutes = ({ backends: { identity } }: GraphParts): readonly Route[] => [
  ...signedInRoutes(identity),
  ...collectionRoutes(identity),
  ...lookUpRoutes(identity),
  ...refusedRoutes,
];

type Identity = Backends['identity'];

const signedInRoutes = (identity: Identity): readonly Route[] => [
  route({
    ...common,
    method: 'GET',
    path: '/graph/v1.0/me',
    does: 'Reads the signed-in user; an application gets 400, and clients then look it up by its id',
    handle: async (_request, caller) => {
      const principal = await findPrincipal(identity, caller.principal, caller);
      if (principal?.type === PrincipalType.USER) return { body: objectBody(principal) };
      throw new RestError(400, 'BadRequest', '/me request is only valid with delegated authentication flow.');
    },
  }),
  route({
    ...common,
    method: 'GET',
    path: '/graph/v1.0/me/ownedObjects',
    does: 'Lists what the signed-in user owns: nothing, because principals have no owners',
    handle: () => ({ body: { value: [] } }),
  }),
];

/** Kinds of objects, the principals among them, and how one is shown. */
const collections = [
  ['servicePrincipals', ({ type }: Principal) => type !== PrincipalType.USER, (one: Principal) => objectBody(one)],
  [
    'applications',
    ({ type }: Principal) => type === PrincipalType.APPLICATION,
    (one: Principal) => applicationBody(one),
  ],
  ['users', ({ type }: Principal) => type === PrincipalType.USER, (one: Principal) => objectBody(one)],
  ['groups', () => false, (one: Principal) => objectBody(one)],
] as const;

const collectionRoutes = (identity: Identity): readonly Route[] =>
  collections.flatMap(([name, isOf, shown]) => [
    route({
      ...common,
      method: 'GET',
      path: `/graph/v1.0/${name}` as const,
      does: `Lists ${name}; \`$filter\` by id, application id or name`,
      handle: async ({ query }, caller) => {
        const filter = directoryFilterOf(query.$filter);
        const found =
          filter.id === undefined
            ? await listPrincipals(identity, caller)
            : [await findPrincipal(identity, filter.id, caller)];
        const value = found.flatMap((one) => (one !== undefined && isOf(one) && filter.fits(one) ? [shown(one)] : []));
        return { body: { value: query.$top === undefined ? value : value.slice(0, Number(query.$top)) } };
      },
    }),
    route({
      ...common,
      method: 'GET',
      path: `/graph/v1.0/${name}/:id` as const,
      does: `Reads one of ${name}`,
      handle: async ({ params }, caller) => {
        const { id } = params as { readonly id: string };
        const principal = await findPrincipal(identity, id, caller);
        if (principal !== undefined && isOf(principal)) return { body: shown(principal) };
        throw notFound(id);
      },
    }),
  ]);

const lookUpRoutes = (identity: Identity): readonly Route[] => [
  route({
    ...common,
    method: 'GET',
    path: '/graph/v1.0/directoryObjects/:id',
    does: 'Reads a principal',
    handle: async ({ params }, caller) => {
      const principal = await findPrincipal(identity, params.id, caller);
      if (principal !== undefined) return { body: objectBody(principal) };
      throw notFound(params.id);
    },
  }),
  route({
    ...common,
    method: 'POST',
    path: '/graph/v1.0/directoryObjects/getByIds',
    does: 'Reads the names of principals',
    body: IdsBody,
    handle: async ({ body }, caller) => {
      const ids = [...new Set(body.ids)];
      const value: unknown[] = [];
      for (let at = 0; at < ids.length; at += lookupsAtOnce) {
        const some = ids.slice(at, at + lookupsAtOnce).map((id) => findPrincipal(identity, id, caller));
        const found = await Promise.all(some);
        value.push(...found.flatMap((principal) => (principal === undefined ? [] : [objectBody(principal)])));
      }
      return { body: { value } };
    },
  }),
];

const refusedRoutes: readonly Route[] = ['servicePrincipals', 'applications', 'users', 'groups'].map((name) =>
  refusedRoute({
    method: 'POST',
    host: 'gateway',
    path: `/graph/v1.0/${name}`,
    does: `Creates one of ${name}`,
    access: 'directory',
    versioned: false,
    refusedBecause: 'Create principals with `npx interlock principal create`.',
  }),
);

const notFound = (id: string): RestError =>
  new RestError(
    404,
    'Request_ResourceNotFound',
    `Resource '${id.slice(0, 100)}' does not exist or one of its queried reference-property objects are not present.`,
  );

/** Every active principal of the caller's tenant. */
const listPrincipals = async (identity: Identity, caller: Caller): Promise<readonly Principal[]> => {
  const found: Principal[] = [];
  let pageToken = '';
  do {
    const asked = { tenant: `tenants/${caller.tenant}`, pageSize: 1_000, pageToken };
    const page = await identity.listPrincipals(asked, caller.as('identity'));
    found.push(...page.principals.filter(({ state }) => state === 'ACTIVE'));
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return found;
};

/** @returns undefined for a principal that does not exist, is deleted, or that the caller may not read */
const findPrincipal = async (
  identity: Backends['identity'],
  id: string,
  caller: Caller,
): Promise<Principal | undefined> => {
  if (!uuid.test(id)) return undefined;
  try {
    const principal = await identity.getPrincipal({ name: `principals/${id.toLowerCase()}` }, caller.as('identity'));
    return principal.state === 'ACTIVE' ? principal : undefined;
  } catch (error) {
    if (error instanceof Rejection && ['NOT_FOUND', 'PERMISSION_DENIED'].includes(error.code)) return undefined;
    throw error;
  }
};

const objectBody = (principal: Principal): unknown => {
  const { name, type, displayName } = principal;
  const id = name.replace('principals/', '');
  return type === PrincipalType.USER
    ? { '@odata.type': '#microsoft.graph.user', id, displayName, userPrincipalName: displayName }
    : {
        '@odata.type': '#microsoft.graph.servicePrincipal',
        id,
        appId: id,
        displayName,
        appDisplayName: displayName,
        accountEnabled: true,
        servicePrincipalNames: [id],
        servicePrincipalType: servicePrincipalType(principal),
      };
};

const applicationBody = ({ name, displayName }: Principal): unknown => {
  const id = name.replace('principals/', '');
  return { '@odata.type': '#microsoft.graph.application', id, appId: id, displayName, identifierUris: [] };
};
