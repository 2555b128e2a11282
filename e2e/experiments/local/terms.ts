import { hostSpec } from '@interlock/host';
import type { Terms } from '@interlock/lab/judge/invariants/bounds';
import { readConfig } from '@interlock/runtime';
import { computeSpec } from '../../../services/compute/src/settings.ts';
import { diskSpec } from '../../../services/disk/src/settings.ts';

const spec = {
  authzTtlMs: hostSpec.authzTtlMs,
  leaseTtlMs: diskSpec.leaseTtlMs,
  unreachableGraceMs: diskSpec.unreachableGraceMs,
  sweepIntervalMs: computeSpec.sweepIntervalMs,
  guestStopTimeoutMs: computeSpec.guestStopTimeoutMs,
} as const;

/** The settings from which the oracle's bounds follow. @param settings by environment variable; an absent one has its default */
export const termsOf = (settings: Readonly<Record<string, string | undefined>>): Terms => {
  const own = Object.fromEntries(Object.entries(settings).filter(([, value]) => value !== undefined));
  const { authzTtlMs, leaseTtlMs: ttlMs, unreachableGraceMs, ...rest } = readConfig(own, spec);
  return { authzTtlMs, leases: { ttlMs, unreachableGraceMs }, ...rest };
};
