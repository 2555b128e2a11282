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
 * From the span of each event back over the references of spans, to the nearest spans with events on each path. Of the events in
 * the own span, the one before.
 */
const fromSpans = ({ traces, events }: RunData, following: Following): readonly Edge[] => {
  const graph = spanGraph(spansIn(traces));
  const bySpan = Map.groupBy(events, spanKey);
  return events.flatMap((to): readonly Edge[] => {
    if (!graph.spans.has(spanKey(to))) return [];
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

/** The event before in the same stream, otherwise the event before in any service; not longer ago than a second. */
const fromTimes = ({ events }: RunData): readonly Edge[] => {
  const lastOfStream = new Map<string, TruthEvent>();
  let last: TruthEvent | undefined;
  return events.toSorted(byTime).flatMap((to) => {
    const stream = `${to.service} ${to.stream}`;
    const isRecent = (one: TruthEvent | undefined): one is TruthEvent =>
      one !== undefined && msOf(to.timeUnixNano) - msOf(one.timeUnixNano) <= TIMESTAMPS_WITHIN_MS;
    const before = lastOfStream.get(stream);
    const from = isRecent(before) ? before : isRecent(last) ? last : undefined;
    lastOfStream.set(stream, to);
    last = to;
    return from === undefined ? [] : [{ from: from.id, to: to.id }];
  });
};
