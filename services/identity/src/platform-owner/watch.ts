import type { Clock, Logger } from '@interlock/runtime';
import type { PlatformOwners } from './owners.ts';

/** How long before the expiry the warnings start, in ms. */
const noticeMs = 14 * 86_400_000;
/** Interval of the checks, in ms. */
const checkMs = 86_400_000;

/** Logs a warning once a day before the last secret of all owners of the platform expires. @returns runs until `signal` is aborted */
export const watchOwners = (parts: {
  readonly owners: Pick<PlatformOwners, 'actUntil'>;
  readonly clock: Clock;
  readonly log: Logger;
}) => {
  const { owners, clock, log } = parts;
  const check = async (): Promise<void> => {
    const until = await owners.actUntil();
    const now = clock.now();
    if (until > now + noticeMs) return;
    if (until > now) {
      const ends = new Date(until).toISOString();
      log.warn('the last secret of an owner of the platform expires soon: add another', { ends });
    } else {
      log.warn('no owner of the platform has a usable secret: give the administrator another in the bootstrap file');
    }
  };
  return async (signal: AbortSignal): Promise<void> => {
    while (!signal.aborted) {
      await check().catch((error: unknown) => log.warn('the owners of the platform could not be checked', { error }));
      await clock.sleep(checkMs, signal);
    }
  };
};
