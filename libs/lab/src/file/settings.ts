import { durationText, toMilliseconds } from '../expressions/duration.ts';
import type { Path } from './document.ts';
import type { Problems } from './problems.ts';
import { defaultMs, isDuration, variableOfSetting } from './setting-names.ts';
import type { Shaped } from './shape.ts';

/** Lines of the settings of a file, by variable. */
export const settingLinesOf = (
  { raw, place }: Shaped,
  lineOf: (path: Path) => number,
): Readonly<Record<string, number>> =>
  Object.fromEntries(
    Object.keys(raw.settings ?? {}).map((name) => [variableOfSetting(name), lineOf(place('settings', name))]),
  );

/** Shortest durations that the services accept. */
export const shortestMs: Readonly<Record<string, number>> = {
  leaseTtl: 1_000,
  authzTtl: 100,
  hostLeaseTtl: 1_000,
  vmHostTtl: 1_000,
  vmHostLost: 1_000,
  shareTtl: 500,
  watchdog: 10,
  rotationRetry: 10,
  rotationCheckInterval: 10,
  guestBoot: 1_000,
  guestIoTimeout: 100,
  startTimeout: 100,
  sweepInterval: 100,
  userTokenLifetime: 1_000,
};

/** The variables that the settings of a file set, with their values in milliseconds, numbers or booleans. */
export function settingsOf({ raw, place }: Shaped, problems: Problems): Readonly<Record<string, string>> {
  const variables: Record<string, string> = {};
  for (const [name, value] of Object.entries(raw.settings ?? {})) {
    const ms = isDuration(name) ? toMilliseconds(String(value)) : undefined;
    const shortest = shortestMs[name] ?? 0;
    if (ms !== undefined && (ms < shortest || !Number.isInteger(ms)))
      problems.add(
        place('settings', name),
        `settings.${name} must be whole milliseconds, at least ${durationText(shortest)} (got ${value})`,
        `Write for example ${name}: ${durationText(Math.max(shortest, Math.ceil(ms)))}.`,
      );
    variables[variableOfSetting(name)] = String(ms ?? value);
  }
  const leaseMs = Number(variables.LEASE_TTL_MS ?? defaultMs.leaseTtl);
  const authzMs = Number(variables.AUTHZ_TTL_MS ?? defaultMs.authzTtl);
  if (leaseMs < 2 * authzMs)
    problems.add(
      place('settings', raw.settings?.leaseTtl === undefined ? 'authzTtl' : 'leaseTtl'),
      `settings.leaseTtl is ${durationText(leaseMs)} and must be at least twice authzTtl, which is ${durationText(authzMs)}`,
      `Write authzTtl: ${durationText(Math.floor(leaseMs / 2))} or less.`,
    );
  return variables;
}
