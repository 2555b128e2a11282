import type { Category } from '@interlock/event-store';
import { DomainAttribute } from '@interlock/runtime';
import type { Meter, ObservableResult } from '@opentelemetry/api';
import type { SetEvent } from '../set/events.ts';
import type { DiskEncryptionSet } from '../set/state.ts';
import { pendingIndex } from '../set/streams.ts';

/** Attribute that says whether a move goes on (`running`) or stands still until somebody does something (`waiting`). */
const STATE = 'interlock.rotation.state';

/**
 * Shows the progress of every unfinished move of disks to another key as `interlock.rotation.left`: how many disks and
 * snapshots are still under an older generation, by set and state, with the reason where it waits. A finished move is not
 * observed. Read when metrics are exported, never before.
 * @returns ends it
 */
export const meterRotations = (parts: {
  readonly meter: Meter;
  readonly sets: Pick<Category<DiskEncryptionSet, SetEvent>, 'listAll'>;
}): (() => void) => {
  const { meter, sets } = parts;
  const left = meter.createObservableGauge('interlock.rotation.left', {
    unit: '{resource}',
    description: 'Disks and snapshots of a set that are still under an older key',
  });
  const observe = async (result: ObservableResult): Promise<void> => {
    // A set that waits for its key may be under both.
    const seen = new Set<string>();
    for (const when of ['soon', 'later'] as const) {
      for (const { id, state } of await sets.listAll({ index: pendingIndex(when) })) {
        if (state.status !== 'active' || state.rotation === null || seen.has(id)) continue;
        const { progress, resourcesCount, doneCount } = state.rotation;
        if (progress.status === 'finished') continue;
        seen.add(id);
        result.observe(Math.max(0, resourcesCount - doneCount), {
          [DomainAttribute.diskEncryptionSet]: id,
          [STATE]: progress.status,
          ...(progress.status === 'waiting' ? { [DomainAttribute.reason]: progress.code ?? progress.reason } : {}),
        });
      }
    }
  };
  left.addCallback(observe);
  return () => left.removeCallback(observe);
};
