import type { JsonObject, JsonValue } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import { RpcFailure } from '@interlock/rpc';
import type { Caller } from '../request/calls.ts';
import { isObject, methodOf, Service } from '../request/schema.ts';

/**
 * Who the principals in an answer are, by their full names, as people know them.
 * @param short a name as people type it
 */
export type Knows = (
  caller: Pick<Caller, 'call' | 'principal'>,
  answer: JsonObject,
  short: (name: string) => string,
) => Promise<ReadonlyMap<string, string>>;

/** As many are asked about: a policy may have a thousand, and a table of them is read by its beginning. */
const askedMax = 32;

/** Those in the access policies of a vault: the caller, the set whose identity one is, or the name it was given. */
export const policyPrincipals: Knows = async (caller, { accessPolicies }, short) => {
  const policies = Array.isArray(accessPolicies) ? accessPolicies.filter(isObject) : [];
  const principals = policies.slice(0, askedMax).map(({ principal }) => String(principal));
  const known = await Promise.all(principals.map((name) => knownAs(caller, name, short)));
  return new Map(known.flatMap((as, n) => (as === undefined ? [] : [[principals[n] ?? '', as] as const])));
};

async function knownAs(
  { principal: own, call }: Pick<Caller, 'call' | 'principal'>,
  name: string,
  short: (name: string) => string,
): Promise<string | undefined> {
  if (name === own) return 'me';
  try {
    const { owner, displayName, state } = await call('identity', methodOf(Service.identity, 'GetPrincipal'), {
      name,
    });
    const as = isText(owner) ? `set:${short(owner)}` : isText(displayName) ? displayName : undefined;
    // A grant outlives whom it was given to.
    return state === 'DELETED' ? `${as ?? 'somebody'}, deleted` : as;
  } catch (error) {
    // Whoever may not see principals, or one that is gone, has the id.
    if (error instanceof Rejection || error instanceof RpcFailure) return undefined;
    throw error;
  }
}

const isText = (value: JsonValue | undefined): value is string => typeof value === 'string' && value !== '';
