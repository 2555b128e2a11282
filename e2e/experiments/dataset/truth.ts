import { nanosOf, type TruthEvent, type TruthIo } from '@interlock/dataset';
import type { Cause, RecordedEvent } from '@interlock/event-store';
import type { IoRecord } from '@interlock/experiment';

/** A stored event as truth: without its data, which may hold sealed secrets. */
export const truthEvent = (service: string, event: RecordedEvent, sinceMs: number): TruthEvent => {
  const [, traceId = '', spanId = ''] = event.cause.traceparent?.split('-') ?? [];
  return {
    service,
    position: event.position,
    id: event.id,
    stream: event.stream,
    type: event.type,
    timeUnixNano: nanosOf(event.time),
    causes: causesOf(event.cause),
    correlationId: event.cause.correlationId,
    traceId,
    spanId,
    phase: event.time >= sinceMs ? 'run' : 'setup',
  };
};

const causesOf = ({ causationId, correlationId }: Cause): TruthEvent['causes'] =>
  causationId === correlationId ? [] : [{ id: causationId, kind: 'message' }];

/** Without causes that are no events: requests of users. */
export const withoutRequests = (events: readonly TruthEvent[]): readonly TruthEvent[] => {
  const ids = new Set(events.map(({ id }) => id));
  return events.map((event) => ({ ...event, causes: event.causes.filter(({ id }) => ids.has(id)) }));
};

/** An operation of a guest as truth. */
export const truthIo = (io: IoRecord): TruthIo => ({
  machine: io.machine,
  disk: io.disk,
  op: io.op,
  seq: io.seq,
  invokedUnixNano: nanosOf(io.invokedMs),
  completedUnixNano: nanosOf(io.completedMs),
  ok: io.ok,
  reason: io.reason,
});
