import { type Clock, failureLog, type Instant, type Logger } from '@interlock/runtime';
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
  { records, clock, log }: { readonly records: Records; readonly clock: Clock; readonly log: Logger },
  { armId, caller }: { readonly armId: string; readonly caller: Caller },
  work: () => Promise<Result>,
): Promise<Result> => {
  const ended = new AbortController();
  // Without renewals another replica may begin the same work: its steps may be repeated.
  const renewals = failureLog({ log, clock, failing: 'record is not renewed', back: 'record is renewed again' });
  const renew = async (): Promise<void> => {
    for (;;) {
      await clock.sleep(renewMs, ended.signal);
      if (ended.signal.aborted) return;
      await records.renew(armId, caller).then(
        () => renewals.succeeded(),
        (error: unknown) => renewals.failed(error, { record: armId }),
      );
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
