import type { ComputeServiceDefinition } from '@interlock/contracts/interlock/compute/v1/compute.ts';
import type { RenewVmHostRequest } from '@interlock/contracts/interlock/compute/v1/vm_host.ts';
import { outsideOfCalls, type RpcClient } from '@interlock/rpc';
import { ageMs, type Clock, type Logger, readingOf } from '@interlock/runtime';
import type { PlacedGuests } from './placed-guests.ts';

/** How soon compute is called again before it has said how often, in milliseconds. */
const againMs = 1_000;

/** Longest renewal, in milliseconds. */
const renewMs = 5_000;

/** What the registration of a VM host works with. */
export interface RegistrationParts {
  readonly compute: Pick<RpcClient<typeof ComputeServiceDefinition>, 'renewVmHost'>;
  readonly self: Omit<RenewVmHostRequest, 'isEmpty' | 'isLeaving'>;
  readonly guests: Pick<PlacedGuests, 'all' | 'endAll'>;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Registers this VM host, and renews that each third of the time for which compute counts it as serving. While compute does not respond,
 * its guests go on: whether they may read and write is decided by the leases of the disk hosts. If it is lost by the record of compute, it
 * ends all its guests before it renews again.
 */
export const keepRegistered = async (parts: RegistrationParts, signal: AbortSignal): Promise<void> => {
  const { compute, self, guests, clock, log } = parts;
  let intervalMs = againMs;
  let isAnswered = true;
  while (!signal.aborted) {
    try {
      const request = { ...self, isEmpty: isEmpty(guests), isLeaving: false };
      const options = { signal, deadlineMs: renewMs };
      const { ttlMs, isLost } = await outsideOfCalls(() => compute.renewVmHost(request, options));
      if (!isAnswered) log.info('renewed again', { vmHost: self.name });
      isAnswered = true;
      intervalMs = isLost ? againMs : Math.max(1, Math.floor(ttlMs / 3));
      if (isLost) await endLost(parts, signal);
    } catch (error) {
      if (!signal.aborted && isAnswered)
        log.warn('not renewed: compute refused it, or does not respond; guests continue, and it is tried again', {
          vmHost: self.name,
          error,
        });
      isAnswered = false;
    }
    await clock.sleep(intervalMs, signal);
  }
};

/**
 * Says until `leaveMs` have passed or no guest is left that this host ends soon: compute places none here meanwhile, and moves those that
 * are here. Only one renewal is sent without guests. While compute does not respond, it is tried again.
 */
export const leave = async (
  { compute, self, guests, clock, log }: RegistrationParts,
  leaveMs: number,
): Promise<void> => {
  const since = readingOf(clock);
  log.info('this VM host ends: its machines move to other hosts', { vmHost: self.name, leaveMs });
  for (;;) {
    const request = { ...self, isEmpty: isEmpty(guests), isLeaving: true };
    const left = leaveMs - ageMs(since, readingOf(clock));
    if (left <= 0) break;
    const options = { deadlineMs: Math.min(renewMs, left) };
    await outsideOfCalls(() => compute.renewVmHost(request, options)).catch((error: unknown) =>
      log.warn('compute does not know yet that this VM host ends', { vmHost: self.name, error }),
    );
    if (isEmpty(guests)) return;
    await clock.sleep(Math.min(againMs, left));
  }
  log.warn('the machines that are left end with this VM host', {
    vmHost: self.name,
    machines: guests
      .all()
      .filter(({ isStopped }) => !isStopped)
      .map(({ vm }) => vm),
  });
};

const isEmpty = (guests: Pick<PlacedGuests, 'all'>): boolean => guests.all().every(({ isStopped }) => isStopped);

/** Ends all guests. A renewal says that they are gone, so that waits until it is true. */
const endLost = async ({ self, guests, clock, log }: RegistrationParts, signal: AbortSignal): Promise<void> => {
  log.warn('this VM host is lost by the record of compute: its guests end', { vmHost: self.name });
  while (!signal.aborted) {
    try {
      return await guests.endAll();
    } catch (error) {
      log.error('not every guest could be ended; it is tried again', { vmHost: self.name, error });
      await clock.sleep(againMs, signal);
    }
  }
};
