import {
  type Principal,
  Principal_Type as PrincipalType,
} from '@interlock/contracts/interlock/identity/v1/principal.ts';
import { Rejection } from '@interlock/event-store';
import { Type } from '@sinclair/typebox';
import type { Backends } from '../cloud/backends.ts';
import type { Caller } from '../cloud/caller.ts';
import { RestError } from '../errors/rest-error.ts';
import { type Route, route } from '../http/route.ts';

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

/** The few requests that the command line sends to the directory. A principal has one id here: object id and application id are equal. */
export const graphRoutes = ({ backends }: GraphParts): readonly Route[] => {
  const common = { host: 'gateway', access: 'directory', versioned: false } as const;
  const find = (id: string, caller: Caller) => findPrincipal(backends.identity, id, caller);
  return [
    route({
      ...common,
      method: 'GET',
      path: '/graph/v1.0/me',
      does: 'Reads the signed-in user; an application gets 400, and clients then look it up by its id',
      handle: async (_request, caller) => {
        const principal = await find(caller.principal, caller);
        if (principal?.type === PrincipalType.USER) return { body: objectBody(principal) };
        throw new RestError(400, 'BadRequest', '/me request is only valid with delegated authentication flow.');
      },
    }),
    route({
      ...common,
      method: 'GET',
      path: '/graph/v1.0/servicePrincipals',
      does: 'Looks up an application; `$filter` names its id, otherwise the list is empty',
      handle: async ({ query }, caller) => {
        const [id] = /[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}/i.exec(query.$filter ?? '') ?? [];
        const principal = id === undefined ? undefined : await find(id, caller);
        const isUser = principal?.type === PrincipalType.USER;
        return { body: { value: principal === undefined || isUser ? [] : [objectBody(principal)] } };
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
          const found = await Promise.all(ids.slice(at, at + lookupsAtOnce).map((id) => find(id, caller)));
          value.push(...found.flatMap((principal) => (principal === undefined ? [] : [objectBody(principal)])));
        }
        return { body: { value } };
      },
    }),
  ];
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

const objectBody = ({ name, type, displayName }: Principal): unknown => {
  const id = name.replace('principals/', '');
  return type === PrincipalType.USER
    ? { '@odata.type': '#microsoft.graph.user', id, displayName, userPrincipalName: displayName }
    : {
        '@odata.type': '#microsoft.graph.servicePrincipal',
        id,
        appId: id,
        displayName,
        servicePrincipalNames: [id],
        servicePrincipalType: type === PrincipalType.MANAGED_IDENTITY ? 'ManagedIdentity' : 'Application',
      };
};
