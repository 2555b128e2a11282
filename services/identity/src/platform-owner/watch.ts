import type { Clock, Logger } from '@interlock/runtime';
import type { PlatformOwners } from './owners.ts';

/** From so long on before the last secret of an owner ends the log says so, in milliseconds. */
const noticeMs = 14 * 86_400_000;
/** Between two looks, in milliseconds. */
const lookMs = 86_400_000;

/**
 * Says in the log once a day that soon nobody can manage the platform: that a secret expires is no change that could be refused.
 * @returns goes on until `signal` is aborted
 */
export const watchOwners = (parts: {
  readonly owners: Pick<PlatformOwners, 'actUntil'>;
  readonly clock: Clock;
  readonly log: Logger;
}) => {
  const { owners, clock, log } = parts;
  const look = async (): Promise<void> => {
    const until = await owners.actUntil();
    const now = clock.now();
    if (until > now + noticeMs) return;
    if (until > now) {
      const ends = new Date(until).toISOString();
      log.warn('the last secret of an owner of the platform ends: give an owner another one', { ends });
    } else {
      log.warn('no owner of the platform has a secret: give the administrator another one in the bootstrap file');
    }
  };
  return async (signal: AbortSignal): Promise<void> => {
    while (!signal.aborted) {
      await look().catch((error: unknown) => log.warn('owners of the platform were not looked at', { error }));
      await clock.sleep(lookMs, signal);
    }
  };
};
