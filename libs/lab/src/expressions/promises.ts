import { type defaultMs, settingMs } from '../file/setting-names.ts';

/** Longest wait between two tries of a consumer or of compute's engine, and what a busy machine may add. In milliseconds. */
const backOffMs = 5_000;
const slackMs = 30_000;

/** How exact planned times are, in milliseconds: a step may be this late. */
export const lateMs = 1_000;

/**
 * How long after a loss, after the end of a fault, or after a give-back a moment of a group may come without any event: by the
 * lease, the sweep and timeouts alone (G1, G2). A longer limit tests nothing that a guarantee does not.
 * @param settings values by variable, as in an experiment
 */
export function promisedMs(moment: string, settings: Readonly<Record<string, string>>): number {
  const ms = (name: keyof typeof defaultMs): number => settingMs(name, settings);
  const leases = ms('leaseTtl') + ms('authzTtl') + slackMs;
  if (moment.startsWith('last')) return leases;
  if (moment === 'stopped') return leases + ms('sweepInterval') + ms('guestStopTimeout') + backOffMs;
  return leases + ms('startTimeout') + backOffMs;
}
