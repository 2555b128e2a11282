import { withoutLabels } from '../format/labels.ts';
import { spansIn } from '../format/otlp.ts';
import type { RunData } from '../format/run-data.ts';
import { msOf, type TruthEvent } from '../format/truth.ts';
import type { Edge } from '../truth/event-graph.ts';
import { byTime } from '../truth/faults.ts';
import { type Following, placeOf, referencesOf, type SpanGraph, spanGraph, spanKey } from '../truth/span-graph.ts';
import { fromDelays } from './delays.ts';
import type { Prediction } from './score.ts';

/** Methods that read telemetry without labels. Each knows the events, but not their causes. */
export const blindMethods = ['parents', 'links', 'message links', 'parents and links', 'timestamps', 'delays'] as const;

/** Methods that read answers: the labels in the telemetry, and the truth itself. */
export const labelledMethods = ['labels', 'causes'] as const;

/** All methods that predict edges. */
export const baselineNames = [...blindMethods, ...labelledMethods] as const;

/** A method that predicts edges. */
export type MethodName = (typeof baselineNames)[number];

const events = [
  ...(['event.trace_id', 'event.span_id', 'event.time', 'event.position', 'event.stream', 'event.type'] as const),
];

/** The columns that each method reads. A test proves that no other column changes what it predicts. */
const readBy: Readonly<Record<MethodName, readonly string[]>> = {
  parents: [...events, 'span.parent_span_id'],
  links: [...events, 'span.links'],
  'message links': [...events, 'span.parent_span_id', 'span.links'],
  'parents and links': [...events, 'span.parent_span_id', 'span.links'],
  timestamps: [...events, 'span.start'],
  delays: [...events, 'event.service', 'span.start'],
  labels: [...events, 'span.parent_span_id', 'span.links', 'interlock.cause.ids', 'interlock.event.ids'],
  causes: ['edges'],
};

/** Longest time between cause and effect for the method `timestamps`, in milliseconds. */
const TIMESTAMPS_WITHIN_MS = 1_000;

/** What a method predicts for a run. Only `labels` and `causes` see labels. */
export const predictionOf = (name: MethodName, data: RunData): Prediction => ({
  method: name,
  reads: readBy[name],
  edges: edgesBy(name, name === 'labels' ? data : withoutLabels(data)),
});

const edgesBy = (name: MethodName, data: RunData): readonly Edge[] => {
  switch (name) {
    case 'parents':
      return fromSpans(data, { following: 'parents', storing: 'parents' });
    case 'links':
      return fromSpans(data, { following: 'links', storing: 'links' });
    case 'message links':
      return fromSpans(data, { following: 'both', storing: 'parents' });
    case 'parents and links':
      return fromSpans(data, { following: 'both', storing: 'both' });
    case 'labels':
      return fromSpans(data, { following: 'both', storing: 'both', isLabelled: true });
    case 'timestamps':
      return fromTimes(data);
    case 'delays':
      return fromDelays(spansIn(data.traces), data.events);
    case 'causes':
      return data.edges.map(({ from, to }) => ({ from, to }));
  }
};

/** Which references are followed, and which of them from a span that stored events. */
interface Walk {
  readonly following: Following;
  readonly storing: Following;
  /** Whether labels are read. */
  readonly isLabelled?: boolean;
}

/** Spans with their visible events. */
interface Placed {
  readonly graph: SpanGraph;
  readonly visible: readonly TruthEvent[];
  /** Events that a span stored. */
  storedBy(key: string): readonly TruthEvent[];
  /** Events of a span, and of the spans below it. */
  eventsAt(key: string): readonly TruthEvent[];
}

const placed = ({ traces, events: all }: RunData): Placed => {
  const graph = spanGraph(spansIn(traces));
  // A lost span is not used, even if its id is known.
  const visible = all.filter((event) => graph.spans.has(spanKey(event)));
  const bySpan = Map.groupBy(visible, spanKey);
  const byPlace = Map.groupBy(visible, (event) => placeOf(graph, spanKey(event)));
  const storedBy = (key: string): readonly TruthEvent[] => bySpan.get(key) ?? [];
  return {
    graph,
    visible,
    storedBy,
    eventsAt: (key) => (graph.spans.has(key) ? [...storedBy(key), ...(byPlace.get(key) ?? [])] : []),
  };
};

/**
 * The causes of an event, by the first of these that finds any: labels of its span, if they are read; the event before of the same
 * stream in its own span; events of the spans that its span links to; the event before in the same place, which is the parent of its span; back over the references of spans, the nearest
 * spans with events on each path.
 */
const fromSpans = (data: RunData, { following, storing, isLabelled = false }: Walk): readonly Edge[] => {
  const all = placed(data);
  const { graph, visible, storedBy } = all;
  return visible.flatMap((to): readonly Edge[] => {
    const key = spanKey(to);
    const named = isLabelled ? graph.causesOf(key, to.id) : [];
    if (named.length > 0) return named.map((from) => ({ from, to: to.id }));
    const beside = storedBy(key).findLast((one) => one.stream === to.stream && one.position < to.position);
    if (beside !== undefined) return [{ from: beside.id, to: to.id }];
    const linked = storing === 'parents' ? [] : graph.linksOf(key).flatMap(storedBy);
    const found = linked.length > 0 ? linked : following === 'links' ? [] : above(all, to, following);
    return [...new Set(found)].filter(({ id }) => id !== to.id).map(({ id }) => ({ from: id, to: to.id }));
  });
};

const above = ({ graph, eventsAt }: Placed, to: TruthEvent, following: Following): readonly TruthEvent[] => {
  const place = placeOf(graph, spanKey(to));
  const previous = previousOf(to, eventsAt(place));
  if (previous !== undefined) return [previous];
  const seen = new Set([spanKey(to), place]);
  const open = [...referencesOf(graph, place, following)];
  const found: TruthEvent[] = [];
  for (let key = open.pop(); key !== undefined; key = open.pop()) {
    if (seen.has(key)) continue;
    seen.add(key);
    const here = eventsAt(key).filter((one) => byTime(one, to) <= 0);
    if (here.length > 0) found.push(...here);
    else open.push(...referencesOf(graph, key, following));
  }
  return found;
};

/**
 * The latest event before, of the same stream if there is one. Events of its own span were stored together with it.
 * Events of its own type are siblings: a span may stop many machines.
 */
const previousOf = (to: TruthEvent, inPlace: readonly TruthEvent[]): TruthEvent | undefined => {
  const isBefore = (one: TruthEvent): boolean => one.type !== to.type && byTime(one, to) < 0;
  const before = inPlace.filter((one) => isBefore(one) && spanKey(one) !== spanKey(to)).toSorted(byTime);
  return before.findLast(({ stream }) => stream === to.stream) ?? before.at(-1);
};

/**
 * The event before in the same stream, otherwise the event before in any service; not longer ago than a second. The time of an
 * event is the start of its span, as the clock of its service has it: an event whose span was lost is not seen.
 */
const fromTimes = ({ traces, events: all }: RunData): readonly Edge[] => {
  const starts = new Map(spansIn(traces).map((span) => [spanKey(span), msOf(span.startTimeUnixNano)]));
  const seen = all.flatMap((event) => {
    const atMs = starts.get(spanKey(event));
    return atMs === undefined ? [] : [{ event, atMs }];
  });
  const lastOfStream = new Map<string, (typeof seen)[number]>();
  let last: (typeof seen)[number] | undefined;
  return seen
    .toSorted((a, b) => a.atMs - b.atMs || byTime(a.event, b.event))
    .flatMap((one) => {
      const stream = `${one.event.service} ${one.event.stream}`;
      const candidates = [lastOfStream.get(stream), last];
      const from = candidates.find((other) => other && one.atMs - other.atMs <= TIMESTAMPS_WITHIN_MS);
      lastOfStream.set(stream, one);
      last = one;
      return from === undefined ? [] : [{ from: from.event.id, to: one.event.id }];
    });
};
