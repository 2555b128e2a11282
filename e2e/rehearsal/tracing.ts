import {
  type Attributes,
  type AttributeValue,
  type Span,
  type SpanStore,
  spanKinds,
  spanStatuses,
} from '@interlock/lab/spans/span-store';
import type { Random } from '@interlock/runtime';
import { startTelemetry, type Telemetry, type TelemetryOptions } from '@interlock/runtime/telemetry';

type Processor = NonNullable<TelemetryOptions['processors']>[number];
type FinishedSpan = Parameters<Processor['onEnd']>[0];

/**
 * Traces the rehearsal itself, so that its users' calls are the roots of their traces. Its spans go directly to the launcher's
 * store with the services' spans, for the report and for `interlock trace` afterwards.
 */
export const traceRehearsal = (spans: SpanStore, random: Random): Telemetry =>
  startTelemetry({
    service: 'rehearsal',
    random,
    processors: [
      {
        onStart: () => undefined,
        onEnd: (span) => spans.add([spanOf(span)]),
        forceFlush: async () => undefined,
        shutdown: async () => undefined,
      },
    ],
  });

function spanOf(span: FinishedSpan): Span {
  const { traceId, spanId } = span.spanContext();
  return {
    traceId,
    spanId,
    parentSpanId: span.parentSpanContext?.spanId,
    service: 'rehearsal',
    name: span.name,
    // The API counts kinds from internal, OTLP has `unspecified` before it.
    kind: spanKinds[span.kind + 1] ?? 'unspecified',
    startMs: millis(span.startTime),
    durationMs: millis(span.duration),
    status: spanStatuses[span.status.code] ?? 'unset',
    statusMessage: span.status.message ?? '',
    attributes: attributesOf(span.attributes),
    links: [],
    events: [],
  };
}

const millis = ([seconds, nanos]: readonly [number, number]): number => seconds * 1_000 + nanos / 1_000_000;

/** Lists of the rehearsal's own spans are not needed and left out. */
function attributesOf(attributes: FinishedSpan['attributes']): Attributes {
  const kept: Record<string, AttributeValue> = {};
  for (const [key, value] of Object.entries(attributes)) {
    if (typeof value === 'string' || typeof value === 'number' || typeof value === 'boolean') kept[key] = value;
  }
  return kept;
}
