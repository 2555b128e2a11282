import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import { RpcFailure } from '@interlock/rpc';
import type { Caller } from '../request/calls.ts';
import { methodOf, Service } from '../request/schema.ts';
import { objectsIn } from './before.ts';

/** Names for the principals in a response, by `principals/{uuid}`. @param short a name as users type it */
export type PrincipalNames = (
  caller: Pick<Caller, 'call' | 'principal'>,
  response: JsonObject,
  short: (name: string) => string,
) => Promise<ReadonlyMap<string, string>>;

/** Most principals that are looked up; a vault may have a thousand. */
const LOOKUPS_MAX = 32;

/** Time limit of a lookup, in milliseconds. After it the id is shown: the response has arrived already. */
const LOOKUP_MS = 2_000;

/** The principals in the access policies of a vault: `me`, `set:<set>` of a set's identity, or the display name. */
export const policyPrincipals: PrincipalNames = async (caller, { accessPolicies }, short) => {
  const principals = objectsIn(accessPolicies)
    .slice(0, LOOKUPS_MAX)
    .map(({ principal }) => String(principal));
  const known = await Promise.all(principals.map((name) => displayNameOf(caller, name, short)));
  return new Map(known.flatMap((as, n) => (as === undefined ? [] : [[principals[n] ?? '', as] as const])));
};

async function displayNameOf(
  { principal: own, call }: Pick<Caller, 'call' | 'principal'>,
  name: string,
  short: (name: string) => string,
): Promise<string | undefined> {
  if (name === own) return 'me';
  try {
    const get = methodOf(Service.identity, 'GetPrincipal');
    const { owner, displayName, state } = await call('identity', get, { name }, { deadlineMs: LOOKUP_MS });
    const as = isText(owner) ? `set:${short(owner)}` : isText(displayName) ? displayName : undefined;
    return state === 'DELETED' ? `${as ?? name}, deleted` : as;
  } catch (error) {
    // The caller may not read principals, or identity does not respond: the id is enough.
    if (error instanceof Rejection || error instanceof RpcFailure) return undefined;
    throw error;
  }
}

const isText = (value: JsonValue | undefined): value is string => typeof value === 'string' && value !== '';
