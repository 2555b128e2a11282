import { spansIn } from '../format/otlp.ts';
import type { RunData } from '../format/run-data.ts';
import { msOf, type TruthEvent } from '../format/truth.ts';
import type { Edge } from '../truth/event-graph.ts';
import { byTime } from '../truth/faults.ts';
import { type Following, referencesOf, spanGraph, spanKey } from '../truth/span-graph.ts';
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
 * The event before in the same span; without one, back over the references of spans to the nearest spans with events on each
 * path.
 */
const fromSpans = ({ traces, events }: RunData, following: Following): readonly Edge[] => {
  const graph = spanGraph(spansIn(traces));
  const bySpan = Map.groupBy(events, spanKey);
  return events.flatMap((to): readonly Edge[] => {
    if (!graph.spans.has(spanKey(to))) return [];
    const previous = previousOf(to, bySpan.get(spanKey(to)) ?? []);
    if (previous !== undefined) return [{ from: previous.id, to: to.id }];
    const seen = new Set([spanKey(to)]);
    const open = [...referencesOf(graph, spanKey(to), following)];
    const found: TruthEvent[] = [];
    for (let key = open.pop(); key !== undefined; key = open.pop()) {
      if (seen.has(key)) continue;
      seen.add(key);
      // A span that was lost says nothing, even if its id is known.
      const here = graph.spans.has(key) ? (bySpan.get(key) ?? []) : [];
      if (here.length > 0) found.push(...here);
      else open.push(...referencesOf(graph, key, following));
    }
    return found.map(({ id }) => ({ from: id, to: to.id }));
  });
};

/** The latest event before, of the same stream if there is one. Events of its own type are siblings: a span may stop many machines. */
const previousOf = (to: TruthEvent, inSpan: readonly TruthEvent[]): TruthEvent | undefined => {
  const before = inSpan.filter((one) => one.type !== to.type && byTime(one, to) < 0).toSorted(byTime);
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
