import { defaultMs, variableOfSetting } from '@interlock/lab';
import type { Terms } from '@interlock/lab/judge/invariants/bounds';

/** The settings from which the oracle's bounds follow. @param settings by environment variable; an absent one has its default */
export const termsOf = (settings: Readonly<Record<string, string | undefined>>): Terms => {
  const ms = (name: keyof typeof defaultMs): number => Number(settings[variableOfSetting(name)] ?? defaultMs[name]);
  return {
    authzTtlMs: ms('authzTtl'),
    leases: { ttlMs: ms('leaseTtl'), unreachableGraceMs: ms('unreachableGrace') },
    sweepIntervalMs: ms('sweepInterval'),
    guestStopTimeoutMs: ms('guestStopTimeout'),
  };
};
