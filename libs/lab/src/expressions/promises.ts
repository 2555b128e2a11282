/** Defaults of the settings that promises follow from, in milliseconds, by variable: as `docs/settings.md` lists them. */
const defaults = {
  LEASE_TTL_MS: 60_000,
  AUTHZ_TTL_MS: 5_000,
  UNREACHABLE_GRACE_MS: 600_000,
  SWEEP_INTERVAL_MS: 10_000,
  GUEST_STOP_TIMEOUT_MS: 10_000,
  START_TIMEOUT_MS: 60_000,
} as const;

/** Longest wait between two tries of a consumer or of compute's engine, and what a busy machine may add. In milliseconds. */
const backOffMs = 5_000;
const slackMs = 30_000;

/**
 * How long after a loss, after the end of a fault, or after a give-back a moment of a group may come without any event: by the
 * lease, the sweep and timeouts alone (G1, G2). A longer limit tests nothing that a guarantee does not.
 * @param settings values by variable, as in an experiment
 */
export function promisedMs(moment: string, settings: Readonly<Record<string, string>>): number {
  const ms = (name: keyof typeof defaults): number => Number(settings[name] ?? defaults[name]);
  const leases = ms('LEASE_TTL_MS') + ms('AUTHZ_TTL_MS') + slackMs;
  if (moment.startsWith('last')) return leases;
  if (moment === 'stopped') return leases + ms('SWEEP_INTERVAL_MS') + ms('GUEST_STOP_TIMEOUT_MS') + backOffMs;
  return leases + ms('START_TIMEOUT_MS') + backOffMs;
}
