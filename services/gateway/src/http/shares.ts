import type { Clock } from '@interlock/runtime';
import { RestError } from '../errors/rest-error.ts';

/** What several requests share: bytes of their bodies, or transfers. */
export interface SharesOptions {
  /** What is shared, for the refusal: `bytes of request bodies`. */
  readonly what: string;
  /** Most of it at once. */
  readonly max: number;
  /** Most of it for one owner. */
  readonly ofOwnerMax: number;
  /** How long a request waits for its share, in milliseconds. */
  readonly waitMs: number;
  readonly clock: Pick<Clock, 'alarm'>;
}

/** A request for a share. */
export interface Wanted {
  /** Whose share it is: a principal, a disk, or the address of a client without a token. */
  readonly owner: string;
  /** Whether nothing proves who it is. All such owners together get half: clients with a token keep the other half. */
  readonly isAnonymous: boolean;
  readonly amount: number;
}

/** A pool that one owner cannot take as a whole. */
export interface Shares {
  /**
   * Takes a share, after a wait if the pool is full. Resolves with what returns it; a second call of that does nothing.
   * @param signal ends the wait: the client is gone
   * @throws RestError 429 if the owner has its share already, 503 if the pool stays full
   */
  take(wanted: Wanted, signal?: AbortSignal): Promise<() => void>;
  /** How much is taken. */
  readonly taken: number;
}

interface Waiting extends Wanted {
  readonly letIn: () => void;
}

/** Opens a pool. All of it is free. */
export const openShares = ({ what, max, ofOwnerMax, waitMs, clock }: SharesOptions): Shares => {
  const owners = new Map<string, number>();
  let taken = 0;
  let anonymous = 0;
  let waiting: readonly Waiting[] = [];

  const hasOwnRoom = ({ owner, isAnonymous, amount }: Wanted): boolean =>
    (owners.get(owner) ?? 0) + amount <= ofOwnerMax && (!isAnonymous || anonymous + amount <= max / 2);

  const change = ({ owner, isAnonymous }: Wanted, by: number): void => {
    const own = (owners.get(owner) ?? 0) + by;
    if (own > 0) owners.set(owner, own);
    else owners.delete(owner);
    taken += by;
    if (isAnonymous) anonymous += by;
  };

  /** In order. An owner that waits for its own share does not hold up others; one that waits for the pool is next. */
  const letIn = (): void => {
    for (const next of waiting) {
      if (!hasOwnRoom(next)) continue;
      if (taken + next.amount > max) return;
      waiting = waiting.filter((other) => other !== next);
      change(next, next.amount);
      next.letIn();
    }
  };

  const refusal = (wanted: Wanted): RestError => {
    const headers = { 'retry-after': '1' };
    if (hasOwnRoom(wanted)) {
      const message = `The gateway is at its limit of ${max} ${what} at once. Repeat the request later.`;
      return new RestError(503, 'ServerBusy', message, { headers });
    }
    const message = `One client may have at most ${ofOwnerMax} ${what} at once. Wait for another request to end, then repeat.`;
    return new RestError(429, 'TooManyRequests', message, { headers });
  };

  return {
    get taken() {
      return taken;
    },
    take(wanted, signal) {
      const { promise, resolve, reject } = Promise.withResolvers<() => void>();
      let isReturned = false;
      const release = (): void => {
        if (isReturned) return;
        isReturned = true;
        change(wanted, -wanted.amount);
        letIn();
      };
      const end = (): void => {
        if (!waiting.includes(one)) return;
        waiting = waiting.filter((other) => other !== one);
        alarm.cancel();
        signal?.removeEventListener('abort', end);
        reject(refusal(wanted));
        letIn();
      };
      const one: Waiting = {
        ...wanted,
        letIn: () => {
          alarm.cancel();
          signal?.removeEventListener('abort', end);
          resolve(release);
        },
      };
      const alarm = clock.alarm(waitMs, end);
      waiting = [...waiting, one];
      signal?.addEventListener('abort', end);
      letIn();
      return promise;
    },
  };
};
