import { spansIn } from '../format/otlp.ts';
import type { RunData } from '../format/run-data.ts';
import type { TruthExport } from '../format/truth.ts';
import { spanKey } from '../truth/span-graph.ts';
import { recordedTraces } from './recompute.ts';

const sum = (all: readonly TruthExport[], of: (one: TruthExport) => number | undefined): number =>
  all.reduce((total, one) => total + (of(one) ?? 0), 0);

/** Services whose number of spans is not the one that was received when the run was recorded. */
export const missingSpans = (data: RunData): readonly string[] => {
  const found = Map.groupBy(spansIn(recordedTraces(data)), ({ service }) => service);
  const received = Map.groupBy(data.exports, ({ service }) => service);
  return [...new Set([...found.keys(), ...received.keys()])].toSorted().flatMap((service) => {
    const [here, recorded] = [found.get(service)?.length ?? 0, sum(received.get(service) ?? [], (one) => one.received)];
    if (here === recorded) return [];
    return [`traces.otlp.jsonl: ${service} has ${here} spans, and ${recorded} were received (truth/exports.jsonl)`];
  });
};

/** What the exporters lost, by service, and how many spans have no parent for that or another reason. One line each. */
export const spanNotes = (data: RunData): readonly string[] => {
  const lost = [...Map.groupBy(data.exports, ({ service }) => service)].flatMap(([service, all]) => {
    const dropped = sum(all, (one) => one.dropped);
    const failed = sum(all, (one) => one.failed);
    const exported = sum(all, (one) => one.exported);
    const unseen = all.every((one) => one.exported !== undefined)
      ? Math.max(0, exported - sum(all, (one) => one.received))
      : 0;
    if (dropped + failed + unseen === 0) return [];
    return [
      `${service} lost spans: ${dropped} dropped from its queue, ${failed} in failed exports, ${unseen} on the way`,
    ];
  });
  const spans = spansIn(recordedTraces(data));
  const known = new Set(spans.map(spanKey));
  const orphans = spans.filter(
    ({ traceId, parentSpanId }) => parentSpanId && !known.has(spanKey({ traceId, spanId: parentSpanId })),
  );
  const counted = sum(data.exports, ({ dropped = 0, failed = 0 }) => dropped + failed);
  return orphans.length === 0
    ? lost
    : [...lost, `${orphans.length} of ${spans.length} spans have no parent; ${counted} lost spans are counted`];
};
