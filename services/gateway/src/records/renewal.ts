import type { Clock, Instant } from '@interlock/runtime';
import type { Caller } from '../cloud/caller.ts';
import type { Records } from './records.ts';

/** A replica that works on a record renews it at this interval, in milliseconds. */
const renewMs = 5_000;
/** A record that was not renewed for this time has lost its replica, in milliseconds: three intervals. */
const lostMs = 15_000;

/** Whether some replica works on a record: one that was renewed lately. */
export const isRenewed = ({ updatedAt }: { readonly updatedAt: Instant }, clock: Pick<Clock, 'now'>): boolean =>
  clock.now() < updatedAt + lostMs;

/** Runs work on a record, and renews the record until the work has ended: other replicas leave it alone meanwhile. */
export const whileRenewing = async <Result>(
  { records, clock }: { readonly records: Records; readonly clock: Clock },
  { armId, caller }: { readonly armId: string; readonly caller: Caller },
  work: () => Promise<Result>,
): Promise<Result> => {
  const ended = new AbortController();
  const renew = async (): Promise<void> => {
    for (;;) {
      await clock.sleep(renewMs, ended.signal);
      if (ended.signal.aborted) return;
      // If the store is unavailable, the work meets the same failure and reports it.
      await records.renew(armId, caller).catch(() => undefined);
    }
  };
  const renewing = renew();
  try {
    return await work();
  } finally {
    ended.abort();
    await renewing;
  }
};
