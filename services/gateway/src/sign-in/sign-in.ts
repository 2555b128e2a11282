import type { Workload } from '@interlock/rpc';
import type { Clock, Instant } from '@interlock/runtime';
import { decodeJwt } from 'jose';
import type { Backends } from '../cloud/backends.ts';
import type { TokenUse } from '../http/route.ts';
import { servicesOf } from './audiences.ts';
import type { InnerTokens, Tokens } from './tokens.ts';

/** What proves that the caller is the principal: a secret, or an assertion that a registered certificate signed. */
export type Proof = { readonly clientSecret: string } | { readonly clientAssertion: string };

/** Who signs in, and for what. */
export interface SignIn {
  /** UUID of the principal. */
  readonly clientId: string;
  readonly proof: Proof;
  readonly audience: string;
  readonly use: TokenUse;
  /** Called with the principal's tenant, as identity has it, before the token is issued; it throws to refuse. */
  readonly checkTenant?: (tenant: unknown) => void;
}

/** A token of the gateway. */
export interface SignedIn {
  readonly token: string;
  readonly expireTime: Instant;
}

/** What a sign-in needs. */
export interface SignInParts {
  readonly backends: Pick<Backends, 'identity'>;
  readonly tokens: Tokens;
  readonly clock: Clock;
  readonly lifetimeMs: number;
}

/** Makes sign-ins. @throws (the sign-in) Rejection of identity: INVALID_CLIENT, THROTTLED */
export const openSignIn =
  ({ backends, tokens, clock, lifetimeMs }: SignInParts) =>
  async ({ clientId, proof, audience, use, checkTenant }: SignIn): Promise<SignedIn> => {
    const inner: Record<string, string> = {};
    const ends: number[] = [];
    const fetchToken = async (service: Workload): Promise<void> => {
      const request = { clientId, ...proof, audience: `interlock:${service}` };
      const issued = await backends.identity.issueToken(request);
      inner[service] = issued.accessToken;
      ends.push(issued.expireTime?.getTime() ?? clock.now());
    };
    // The first alone: a wrong secret then counts as one failure at identity.
    const [first = 'identity', ...others] = servicesOf[use];
    await fetchToken(first);
    checkTenant?.(decodeJwt(inner[first] ?? '').tid);
    await Promise.all(others.map(fetchToken));
    const expireTime = Math.min(clock.now() + lifetimeMs, ...ends);
    return { token: await tokens.issue(audience, inner as InnerTokens, expireTime), expireTime };
  };
