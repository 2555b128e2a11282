import type { Impact } from '@interlock/contracts/interlock/disk_encryption_set/v1/impact.ts';
import type { Findings } from '../findings.ts';
import type { Forecast, StopForecast } from './forecast.ts';

const isSameSet = (one: ReadonlySet<string>, other: ReadonlySet<string>): boolean =>
  one.size === other.size && [...one].every((name) => other.has(name));

/** G2: a preview of a loss names exactly the machines that it would stop. */
export const previewJudge =
  ({ log, forecast }: { readonly log: Findings; readonly forecast: Pick<StopForecast, 'of' | 'movedSince'> }) =>
  /** @param before the forecast when the preview was requested */
  (keyVersion: string, impacts: readonly Impact[], before: Forecast | undefined): void => {
    const after = forecast.of(keyVersion);
    if (!before || !after) return;
    // A machine that moved between request and response, even if it moved back, may have been in either state.
    const moved = forecast.movedSince(before);
    const still = (names: Iterable<string>): ReadonlySet<string> => new Set([...names].filter((vm) => !moved.has(vm)));
    const wanted = still(before.stops);
    // Something else may have changed, for example a disk moved to another key.
    if (!isSameSet(wanted, still(after.stops))) return;
    // A machine is named once for each set it has disks of.
    const named = still(impacts.flatMap(({ kind, resource }) => (kind === 'VIRTUAL_MACHINE_STOPS' ? [resource] : [])));
    if (isSameSet(named, wanted)) return;
    log.violate(
      'G2',
      `a loss of ${keyVersion} stops ${[...wanted].join(', ') || 'no machine'}`,
      `predicted: ${[...named].join(', ') || 'no machine'}`,
    );
  };
