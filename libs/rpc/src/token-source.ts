import type { Clock, Instant } from '@interlock/runtime';
import { runAsCall } from './call.ts';

/** A bearer token and its expiry. */
export interface IssuedToken {
  readonly token: string;
  readonly expireTime: Instant;
}

/** Bearer tokens of one principal, by audience. */
export interface TokenSource {
  /** A token that stays valid for a while; without a promise if one is cached. @throws the error of the issuer */
  token(audience: string): Promise<string> | string;
  /** Reports that a service refused this token, so that it is not returned again. */
  refused(audience: string, token: string): void;
}

export interface TokenSourceOptions {
  /** Gets a new token for an audience. */
  readonly issue: (audience: string) => Promise<IssuedToken>;
  readonly clock: Pick<Clock, 'now'>;
  /** Part of a token's life after which a new one is fetched in the background. Default 0.7. */
  readonly renewAfter?: number;
  /**
   * A token with less time left is not returned. Default 5,000 ms, or half of the time left at its renewal if that is less: so a
   * token that lives one second is renewed in the background too, and no call waits for it.
   */
  readonly reserveMs?: number;
}

/** Caches tokens and renews them early: while a new one is fetched, the old one is returned. */
export function tokenSource({ issue, clock, renewAfter = 0.7, reserveMs = 5_000 }: TokenSourceOptions): TokenSource {
  const held = new Map<string, IssuedToken & { readonly renewTime: Instant }>();
  const renewals = new Map<string, Promise<string>>();

  const renew = (audience: string): Promise<string> => {
    const running = renewals.get(audience);
    if (running !== undefined) return running;
    const renewal = fetch(audience).finally(() => renewals.delete(audience));
    renewals.set(audience, renewal);
    return renewal;
  };
  const fetch = async (audience: string): Promise<string> => {
    const issuedTime = clock.now();
    // All callers share this request. It runs outside of any call, so it continues after the deadline of one caller.
    const issued = await runAsCall(undefined, () => issue(audience));
    held.set(audience, { ...issued, renewTime: issuedTime + (issued.expireTime - issuedTime) * renewAfter });
    return issued.token;
  };

  return {
    token: (audience) => {
      const current = held.get(audience);
      const now = clock.now();
      if (
        current === undefined ||
        now >= current.expireTime - Math.min(reserveMs, (current.expireTime - current.renewTime) / 2)
      ) {
        return renew(audience);
      }
      // A failed early renewal is ignored: the cached token is valid, and the next call tries again.
      if (now >= current.renewTime) void Promise.allSettled([renew(audience)]);
      return current.token;
    },
    refused: (audience, token) => {
      if (held.get(audience)?.token === token) held.delete(audience);
    },
  };
}
