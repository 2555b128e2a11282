import { spansIn } from '../format/otlp.ts';
import type { RunData } from '../format/run-data.ts';
import { msOf, type TruthEvent } from '../format/truth.ts';
import type { Edge } from '../truth/event-graph.ts';
import { byTime } from '../truth/faults.ts';
import { type Following, placeOf, referencesOf, spanGraph, spanKey } from '../truth/span-graph.ts';
import type { Prediction } from './score.ts';

/** Methods that predict edges; `causes` is the oracle. */
export const baselineNames = ['parents', 'parents and links', 'timestamps', 'causes'] as const;

/** Longest time between cause and effect for the method `timestamps`, in milliseconds. */
const TIMESTAMPS_WITHIN_MS = 1_000;

/** What a method predicts for a run. */
export const predictionOf = (name: (typeof baselineNames)[number], data: RunData): Prediction => {
  switch (name) {
    case 'parents':
      return { method: name, edges: fromSpans(data, 'parents') };
    case 'parents and links':
      return { method: name, edges: fromSpans(data, 'both') };
    case 'timestamps':
      return { method: name, edges: fromTimes(data) };
    case 'causes':
      return { method: name, edges: data.edges.map(({ from, to }) => ({ from, to })) };
  }
};

/**
 * The causes that links of its span name. Without such links: the event before in the same place, which is the parent of the span
 * that stored it; without one, back over the references of spans to the nearest spans with events on each path.
 */
const fromSpans = ({ traces, events }: RunData, following: Following): readonly Edge[] => {
  const graph = spanGraph(spansIn(traces));
  // A lost span is not used, even if its id is known.
  const visible = events.filter((event) => graph.spans.has(spanKey(event)));
  const bySpan = Map.groupBy(visible, spanKey);
  const byPlace = Map.groupBy(visible, (event) => placeOf(graph, spanKey(event)));
  const eventsAt = (key: string): readonly TruthEvent[] =>
    graph.spans.has(key) ? [...(bySpan.get(key) ?? []), ...(byPlace.get(key) ?? [])] : [];
  return visible.flatMap((to): readonly Edge[] => {
    const named = following === 'both' ? graph.causesOf(spanKey(to), to.id) : [];
    if (named.length > 0) return named.map((from) => ({ from, to: to.id }));
    const place = placeOf(graph, spanKey(to));
    const previous = previousOf(to, eventsAt(place));
    if (previous !== undefined) return [{ from: previous.id, to: to.id }];
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
    return [...new Set(found)].filter(({ id }) => id !== to.id).map(({ id }) => ({ from: id, to: to.id }));
  });
};

/**
 * The latest event before, of the same stream if there is one. Events of its own span were stored together and share their causes.
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
const fromTimes = ({ traces, events }: RunData): readonly Edge[] => {
  const starts = new Map(spansIn(traces).map((span) => [spanKey(span), msOf(span.startTimeUnixNano)]));
  const seen = events.flatMap((event) => {
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
