import type { Category, EventStore, Loaded } from '@interlock/event-store';
import type { VmEvent } from './events.ts';
import type { Vm } from './state.ts';

/** A machine now, and then after each change by any replica, until `signal` is aborted. Changes close together may be one. */
export async function* changesOf(
  parts: { readonly store: EventStore; readonly vms: Category<Vm, VmEvent> },
  id: string,
  signal: AbortSignal,
): AsyncGenerator<Loaded<Vm>> {
  let seen = -1;
  while (!signal.aborted) {
    // Read before the machine: a change after it wakes the wait below.
    const position = await parts.store.head();
    const loaded = await parts.vms.load(id);
    if (loaded.version !== seen) {
      seen = loaded.version;
      yield loaded;
    }
    await parts.store.waitForEvents(position, signal);
  }
}
