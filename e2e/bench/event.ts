import type { Cause } from '@interlock/event-store';

/** The cause of events that benches store. */
export const benchCause = {
  correlationId: 'bench',
  causes: [{ id: `set-${'x'.repeat(80)}@7`, kind: 'message' as const }],
  caller: 'system:bench',
  traceparent: `00-${'a'.repeat(32)}-${'b'.repeat(16)}-01`,
} satisfies Cause;

/** Data of an event, about as long as that of a real one: 200 bytes, in addition to 150 bytes of metadata. */
export const eventData = { name: 'x'.repeat(120), version: 'y'.repeat(32), at: 1_700_000_000_000 };
