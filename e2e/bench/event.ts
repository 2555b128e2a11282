import type { Cause } from '@interlock/event-store';

/** The cause of events that benches store. */
export const benchCause: Cause = {
  correlationId: 'bench',
  causationId: 'bench',
  caller: 'system:bench',
  traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`,
};

/** Data of an event, about as long as that of a real one: 200 bytes, beside 150 of meta. */
export const eventData = { name: 'x'.repeat(120), version: 'y'.repeat(32), at: 1_700_000_000_000 };
