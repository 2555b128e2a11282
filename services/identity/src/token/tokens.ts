import { hash } from 'node:crypto';
import { Rejection } from '@interlock/event-store';
import type { Clock, Instant } from '@interlock/runtime';
import type { Principal } from '../principal/decider.ts';
import type { KeyRing } from '../signing-key/key-ring.ts';

/** The services a token can be meant for; the audience is `interlock:<service>`. */
const audiences: ReadonlySet<string> = new Set(
  ['identity', 'key-vault', 'disk-encryption-set', 'disk', 'compute'].map((service) => `interlock:${service}`),
);

/** `nbf` lies so many seconds before the issue: the clock of a verifier may be behind. */
const clockAllowanceS = 60;

/** The only service that the identity of a resource calls (CMK-07). */
const managedIdentityAudience = 'interlock:key-vault';

/** A signed token and when it ends. */
export interface AccessToken {
  readonly token: string;
  readonly expireTime: Instant;
}

/** Issues tokens for an authenticated principal. */
export type TokenIssuer = (
  principal: { readonly id: string } & Extract<Principal, { status: 'active' }>,
  audience: string,
) => Promise<AccessToken>;

/** How long tokens live, in milliseconds. */
export interface TokenLifetimes {
  readonly userMs: number;
  /** Tokens of managed identities end within `authzTtl`, so that a deleted identity loses access soon (G1). */
  readonly managedIdentityMs: number;
}

/**
 * Makes the issuer: JSON Web Tokens signed with RS256, claims as in REST-82 (`sub` = `oid` = principal, `tid` = tenant).
 * @throws (the issuer) Rejection INVALID_ARGUMENT INVALID_AUDIENCE
 */
export const tokenIssuer =
  (parts: {
    readonly ring: KeyRing;
    readonly clock: Clock;
    readonly issuer: string;
    readonly lifetimes: TokenLifetimes;
  }): TokenIssuer =>
  async (principal, audience) => {
    if (!audiences.has(audience)) {
      throw new Rejection(
        'INVALID_ARGUMENT',
        'INVALID_AUDIENCE',
        `audience must be one of ${[...audiences].join(', ')}`,
        {
          field: 'audience',
          audience,
        },
      );
    }
    const { lifetimes, clock, ring } = parts;
    const isManagedIdentity = principal.principalType === 'managed_identity';
    if (isManagedIdentity && audience !== managedIdentityAudience) {
      throw new Rejection(
        'INVALID_ARGUMENT',
        'INVALID_AUDIENCE',
        `audience must be ${managedIdentityAudience}: the identity of a resource speaks to the key vault alone`,
        { field: 'audience', audience },
      );
    }
    const { kid, sign } = await ring.signing();
    const now = clock.now();
    const nowSeconds = Math.floor(now / 1_000);
    // This lifetime counts in milliseconds, so the expiry is not rounded up to the second.
    const expireTime = isManagedIdentity
      ? Math.floor(now + lifetimes.managedIdentityMs)
      : Math.ceil((now + lifetimes.userMs) / 1_000) * 1_000;
    const token = await sign(kid, {
      oid: principal.id,
      tid: principal.tenant.replace(/^tenants\//, ''),
      idtyp: kindOf(principal),
      ver: '1.0',
      ...(principal.workload === undefined ? {} : { workload: principal.workload }),
      iss: parts.issuer,
      sub: principal.id,
      aud: audience,
      iat: nowSeconds,
      nbf: nowSeconds - clockAllowanceS,
      exp: expireTime / 1_000,
    });
    return { token, expireTime };
  };

const kindOf = (principal: Extract<Principal, { status: 'active' }>): string => {
  if (principal.workload !== undefined) return 'workload';
  return { user: 'user', application: 'app', managed_identity: 'managed_identity' }[principal.principalType];
};

/** Hash under which a secret is stored. Secrets are 256 random bits, so a slow password hash would add nothing. */
export const hashSecret = (text: string): string => hash('sha256', text, 'base64url');
