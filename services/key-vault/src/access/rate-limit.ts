import { Rejection } from '@interlock/event-store';
import { type Principal, RETRY_AFTER_MS } from '@interlock/rpc';
import { type Clock, type Rate, tokenBuckets } from '@interlock/runtime';

/** What may be asked of this replica; absent: as much as it can do (KV-100). */
export interface RateLimits {
  /** Of one principal, for each kind of request apart. Services of the cloud itself are not limited. */
  readonly principal?: Rate | undefined;
  /** Uses of the keys of one vault, by everybody who may use them. */
  readonly vault?: Rate | undefined;
  /** Refusals are counted for so long before the count is recorded. Default 10,000 ms. */
  readonly countWindowMs?: number;
}

/**
 * Kinds of requests. Each has a bucket of its own, so that a flood of one kind leaves the others their share: `check`
 * renews leases, `use` costs RSA, `manage` is everything else, the withdrawal of access included.
 */
export type RequestKind = 'check' | 'use' | 'manage';

/**
 * Keeps floods away from RSA and from the record (KV-95, KV-100). Each principal has its own buckets. A vault's bucket is
 * drawn from only by uses of those who may use its keys, so strangers cannot empty it; `CheckAccess` and management never
 * draw from it: a flood of a vault stops neither the leases of its other sets nor the owner who ends the flood.
 */
export interface RateLimit {
  /** @throws Rejection RESOURCE_EXHAUSTED THROTTLED, with the time until the next request would be let in */
  admit(principal: Pick<Principal, 'kind' | 'name'>, kind: RequestKind): void;
  /** For one use of a key of a vault. @throws Rejection as above */
  admitToVault(vault: string): void;
  /** Whether an unauthenticated caller may add another entry to the record. @param address network address */
  mayRecord(address: string): boolean;
  /**
   * Whether a refusal of a caller from another tenant may be another entry on the record of a vault, or is only counted. It
   * applies without any limit set as well: the owner of the vault cannot stop such callers.
   */
  mayRecordStranger(vault: string): boolean;
}

/** Entries about strangers on the record of one vault: as many at once as one page of it shows, then 86,400 a day. */
const strangerRate: Rate = { perSecond: 1, burst: 100 };

/** Opens the limits of a replica. */
export const rateLimit = (limits: RateLimits, clock: Pick<Clock, 'monotonicMs'>): RateLimit => {
  const principals = limits.principal && tokenBuckets(limits.principal, clock);
  const vaults = limits.vault && tokenBuckets(limits.vault, clock);
  const strangers = tokenBuckets(strangerRate, clock);
  const check = (waitMs: number | undefined, who: string): void => {
    if (waitMs) throw throttled(who, waitMs);
  };
  return {
    admit({ kind: caller, name }, kind) {
      if (caller !== 'workload') check(principals?.take(`${kind} ${name}`), name);
    },
    admitToVault: (vault) => check(vaults?.take(vault), `vaults/${vault}`),
    mayRecord: (address) => !principals?.take(`record ${address}`),
    mayRecordStranger: (vault) => strangers.take(vault) === 0,
  };
};

const throttled = (who: string, waitMs: number): Rejection =>
  new Rejection(
    'RESOURCE_EXHAUSTED',
    'THROTTLED',
    `too many requests for ${who}: the next one is let in after ${waitMs} ms`,
    { limited: who, [RETRY_AFTER_MS]: String(waitMs) },
  );
