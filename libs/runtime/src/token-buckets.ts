import type { Clock } from './clock.ts';

/** Average number of requests per second, and most requests at once after an idle time. Both at least 1. */
export interface Rate {
  readonly perSecond: number;
  readonly burst: number;
}

/** A rate from two settings. @param perSecond 0: no limit @param burst 0: as many as in ten seconds (KV-100) */
export const rateOf = (perSecond: number, burst: number): Rate | undefined =>
  perSecond === 0 ? undefined : { perSecond, burst: burst || perSecond * 10 };

interface Bucket {
  /** In thousandths of a token: a rate in tokens per second is the same number of these per millisecond, so integers stay integers. */
  readonly level: number;
  readonly filledMs: number;
}
const oneToken = 1_000;

/** Buckets of one rate, by name. A full bucket is dropped, so idle names cost nothing. */
export const tokenBuckets = ({ perSecond, burst }: Rate, clock: Pick<Clock, 'monotonicMs'>) => {
  const buckets = new Map<string, Bucket>();
  const full = burst * oneToken;

  const levelOf = (bucket: Bucket, nowMs: number): number =>
    Math.min(full, bucket.level + (nowMs - bucket.filledMs) * perSecond);

  /** The least recently used come first. Each request checks two of them, so only recently used ones stay. */
  const forgetIdle = (nowMs: number): void => {
    let looks = 0;
    for (const [name, bucket] of buckets) {
      looks += 1;
      if (looks > 2 || levelOf(bucket, nowMs) < full) return;
      buckets.delete(name);
    }
  };

  return {
    size: () => buckets.size,
    /** Takes one token. @returns 0, or the milliseconds until one is available; then none is taken */
    take(name: string): number {
      const nowMs = clock.monotonicMs();
      const known = buckets.get(name);
      const level = known === undefined ? full : levelOf(known, nowMs);
      buckets.delete(name);
      const isLetIn = level >= oneToken;
      buckets.set(name, { level: isLetIn ? level - oneToken : level, filledMs: nowMs });
      forgetIdle(nowMs);
      return isLetIn ? 0 : Math.max(1, Math.ceil((oneToken - level) / perSecond));
    },
    /** Returns a token that was taken for a request that does not count. */
    refund(name: string): void {
      const known = buckets.get(name);
      // A dropped bucket is full.
      if (known !== undefined) buckets.set(name, { ...known, level: Math.min(full, known.level + oneToken) });
    },
  };
};
