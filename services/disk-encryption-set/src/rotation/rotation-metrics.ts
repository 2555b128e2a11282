import type { Category } from '@interlock/event-store';
import { DomainAttribute } from '@interlock/runtime';
import type { Meter, ObservableResult } from '@opentelemetry/api';
import type { SetEvent } from '../set/events.ts';
import type { DiskEncryptionSet } from '../set/state.ts';
import { pendingIndex } from '../set/streams.ts';

/** Attribute: `running`, or `waiting` for a key or its owner. */
const STATE = 'interlock.rotation.state';

/**
 * Metric `interlock.rotation.left`: disks and snapshots of each unfinished rotation that are under an older generation. Read when
 * metrics are exported.
 * @returns stops it
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
    // A set may be in both indexes.
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
