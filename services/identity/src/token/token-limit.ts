import { Rejection } from '@interlock/event-store';
import { RETRY_AFTER_MS } from '@interlock/rpc';
import { type Clock, type Rate, tokenBuckets } from '@interlock/runtime';

/** How many tokens one replica gives for secrets; absent: as many as it can. */
export interface TokenRates {
  /** Failed calls from one network address, whichever principals they name. */
  readonly failures?: Rate | undefined;
  /** Tokens of one principal, for all audiences together. */
  readonly principal?: Rate | undefined;
}

/**
 * Keeps floods of `IssueToken` away from the store and from the signing key. Failures count by address, not by principal: a
 * caller without the secret of a principal cannot lock that principal out, except from the caller's own address.
 */
export interface TokenLimit {
  /**
   * Before anything is read: counts the call as a failure of its address.
   * @param peer address and port
   * @returns undoes that count; to be called once the secret is correct
   * @throws Rejection RESOURCE_EXHAUSTED THROTTLED, with the time until the next call is accepted
   */
  admit(peer: string): () => void;
  /** With the right secret, before the token is signed. @throws Rejection as above */
  admitPrincipal(id: string): void;
}

/** Opens the limit. */
export const tokenLimit = (rates: TokenRates, clock: Pick<Clock, 'monotonicMs'>): TokenLimit => {
  const failures = rates.failures && tokenBuckets(rates.failures, clock);
  const principals = rates.principal && tokenBuckets(rates.principal, clock);
  return {
    admit(peer) {
      // The port changes with each connection.
      const address = peer.replace(/:\d+$/, '');
      const waitMs = failures?.take(address) ?? 0;
      if (waitMs > 0) throw throttled(`failed calls from ${address}`, waitMs);
      return () => failures?.refund(address);
    },
    admitPrincipal(id) {
      const waitMs = principals?.take(id) ?? 0;
      if (waitMs > 0) throw throttled(`tokens of principals/${id}`, waitMs);
    },
  };
};

const throttled = (what: string, waitMs: number): Rejection =>
  new Rejection('RESOURCE_EXHAUSTED', 'THROTTLED', `too many ${what}: the next call is let in after ${waitMs} ms`, {
    limited: what,
    [RETRY_AFTER_MS]: String(waitMs),
  });
