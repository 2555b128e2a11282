import type { RecordedEvent } from '@interlock/event-store';
import type { IoRecord } from '@interlock/lab';
import { nanosOf, type TruthEvent, type TruthIo } from '@interlock/lab/dataset';
import { comparedData } from '@interlock/lab/judge/causes/compared-data';

/**
 * A stored event as truth: of its data, only what its causes follow from. The rest may hold sealed secrets.
 * @param at.sinceMs when the timeline started @param at.micros its place among the events of its millisecond
 */
export const truthEvent = (
  service: string,
  event: RecordedEvent,
  { sinceMs, micros }: { readonly sinceMs: number; readonly micros: number },
): TruthEvent => {
  const [, traceId = '', spanId = ''] = event.cause.traceparent?.split('-') ?? [];
  return {
    service,
    position: event.position,
    id: event.id,
    stream: event.stream,
    type: event.type,
    timeUnixNano: nanosOf(event.time + micros / 1_000),
    causes: event.cause.causes,
    correlationId: event.cause.correlationId,
    caller: event.cause.caller,
    data: comparedData(event.data),
    traceId,
    spanId,
    phase: event.time >= sinceMs ? 'run' : 'setup',
  };
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
