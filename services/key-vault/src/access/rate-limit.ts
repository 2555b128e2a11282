import { Rejection } from '@interlock/event-store';
import { type Principal, RETRY_AFTER_MS } from '@interlock/rpc';
import { type Clock, type Rate, tokenBuckets } from '@interlock/runtime';

/** Limits of one replica; absent: none (KV-100). */
export interface RateLimits {
  /** Of one principal, for each kind of request. Services of the cloud itself are not limited. */
  readonly principal?: Rate | undefined;
  /** Uses of the keys of one vault, by all permitted callers together. */
  readonly vault?: Rate | undefined;
  /** How long refusals are counted before the count is written. Default 10,000 ms. */
  readonly countWindowMs?: number;
}

/**
 * Kinds of requests, each with a bucket of its own, so that a flood of one kind does not stop the others: `check` renews
 * leases, `use` needs RSA, `manage` is everything else, also the withdrawal of access.
 */
export type RequestKind = 'check' | 'use' | 'manage';

/** Entries about callers of other tenants in one vault: as many at once as a page shows, then 86,400 a day. */
const strangerRate: Rate = { perSecond: 1, burst: 100 };

/**
 * Keeps floods away from RSA and from the audit record (KV-95, KV-100). Each principal has its own buckets. Only uses by
 * permitted callers draw from the bucket of a vault, so other tenants cannot empty it. `CheckAccess` and management do not, so
 * a flood of uses stops neither the leases of other sets nor the owner who ends the flood.
 */
export class RateLimit {
  readonly #principals: TokenBuckets | undefined;
  readonly #vaults: TokenBuckets | undefined;
  readonly #strangers: TokenBuckets;

  constructor({ principal, vault }: RateLimits, clock: Pick<Clock, 'monotonicMs'>) {
    this.#principals = principal && tokenBuckets(principal, clock);
    this.#vaults = vault && tokenBuckets(vault, clock);
    this.#strangers = tokenBuckets(strangerRate, clock);
  }

  /** @throws Rejection RESOURCE_EXHAUSTED THROTTLED, with the time until the next request is admitted */
  admit({ kind: caller, name }: Pick<Principal, 'kind' | 'name'>, kind: RequestKind): void {
    if (caller !== 'workload') check(this.#principals?.take(`${kind} ${name}`), name);
  }

  /** Admits one use of a key of a vault. @throws Rejection as `admit` */
  admitToVault(vault: string): void {
    check(this.#vaults?.take(vault), `vaults/${vault}`);
  }

  /** Whether a refusal of an unauthenticated caller gets an entry, or is only counted. @param address network address */
  mayRecord(address: string): boolean {
    return !this.#principals?.take(`record ${address}`);
  }

  /**
   * Whether a refusal of a caller of another tenant gets an entry in the record of a vault, or is only counted. Applies also
   * without configured limits, because the owner of the vault cannot stop such callers.
   */
  mayRecordStranger(vault: string): boolean {
    return this.#strangers.take(vault) === 0;
  }
}

type TokenBuckets = ReturnType<typeof tokenBuckets>;

const check = (waitMs: number | undefined, who: string): void => {
  if (waitMs) throw throttled(who, waitMs);
};

const throttled = (who: string, waitMs: number): Rejection =>
  new Rejection('RESOURCE_EXHAUSTED', 'THROTTLED', `too many requests for ${who}: repeat the call after ${waitMs} ms`, {
    limited: who,
    [RETRY_AFTER_MS]: String(waitMs),
  });
