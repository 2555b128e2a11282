import type { Category, Cause } from '@interlock/event-store';
import type { Clock, Logger, Random } from '@interlock/runtime';
import type { Meter } from '@opentelemetry/api';
import type { GuestIo } from '../guests/vm-host.ts';
import type { VmEvent } from '../vm/events.ts';
import { mismatchesFound } from '../vm/progress.ts';
import type { Machine, Vm } from '../vm/state.ts';

/**
 * Stores the reads of a machine's guest that returned other bytes than were written.
 * @param io what the guest counted; undefined if none was started
 */
export type NoteMismatches = (vm: string, machine: Machine, io: GuestIo | undefined, cause: Cause) => Promise<void>;

/** The counter `interlock.vm.content_mismatch` rises by each such read once it is stored. */
export const openNoteMismatches = (parts: {
  readonly vms: Pick<Category<Vm, VmEvent>, 'transact'>;
  readonly clock: Clock;
  readonly random: Pick<Random, 'uuid'>;
  readonly log: Logger;
  readonly meter: Meter;
}): NoteMismatches => {
  const { vms, clock, random, log } = parts;
  const found = parts.meter.createCounter('interlock.vm.content_mismatch', {
    unit: '{read}',
    description: 'Reads of guests that returned other bytes than their machine wrote',
  });
  // A metric that appears with its first value shows no increase.
  found.add(0);
  return async (vm, { uniqueId, mismatches }, io, cause) => {
    const before = mismatches?.count ?? 0;
    if (io === undefined || io.mismatches <= before) return;
    const { events } = await vms.transact(vm, mismatchesFound(clock.now(), random.uuid(), uniqueId, io), cause, {
      step: 'work',
    });
    if (events.length === 0) return;
    found.add(io.mismatches - before);
    log.error('a machine read other bytes than it wrote', {
      vm,
      count: io.mismatches,
      newest: io.newestMismatch,
    });
  };
};
