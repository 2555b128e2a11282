import type { EventStore } from '@interlock/event-store';
import type { Clock } from '@interlock/runtime';

/** Resolves after the time (milliseconds), at the next event above the position, or at the signal. Never rejects. */
export const sleepOrEvent = async (
  { store, clock }: { readonly store: Pick<EventStore, 'waitForEvents'>; readonly clock: Clock },
  position: number,
  durationMs: number,
  signal: AbortSignal,
): Promise<void> => {
  const woken = new AbortController();
  const passed = clock.sleep(durationMs, signal, woken.signal);
  await Promise.race([passed, store.waitForEvents(position, woken.signal)]);
  woken.abort();
};
