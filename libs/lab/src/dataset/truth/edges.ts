import type { TracesRequest } from '../format/otlp.ts';
import { spansIn } from '../format/otlp.ts';
import type { TruthEdge, TruthEvent } from '../format/truth.ts';
import { placeOf, reaches, type SpanGraph, spanGraph, spanKey } from './span-graph.ts';

/** The edges that the events name, and how the spans carry each. A cause that is not among the events has no edge. */
export const edgesOf = (events: readonly TruthEvent[], traces: readonly TracesRequest[]): readonly TruthEdge[] => {
  const byId = new Map(events.map((event) => [event.id, event]));
  const graph = spanGraph(spansIn(traces));
  return events.flatMap((to) =>
    to.causes.flatMap(({ id, kind }) => {
      const from = byId.get(id);
      if (from === undefined) return [];
      const crossService = from.service !== to.service;
      return [{ from: id, to: to.id, kind, crossService, carriedBy: carrierOf(graph, from, to) }];
    }),
  );
};

const carrierOf = (graph: SpanGraph, from: TruthEvent, to: TruthEvent): TruthEdge['carriedBy'] => {
  const [start, goal] = [spanKey(to), spanKey(from)];
  if (!graph.spans.has(start) || !graph.spans.has(goal)) return 'none';
  const place = placeOf(graph, goal);
  if ([goal, place].some((key) => reaches(graph, start, key, 'parents'))) return 'parent';
  if (graph.causesOf(start, to.id).includes(from.id)) return 'link';
  return reaches(graph, start, goal, 'both') ? 'link' : 'none';
};

/** The edges that are scored: between events of the timeline. */
export const scoredEdges = (events: readonly TruthEvent[], edges: readonly TruthEdge[]): readonly TruthEdge[] => {
  const ofRun = new Set(events.flatMap(({ id, phase }) => (phase === 'run' ? [id] : [])));
  return edges.filter(({ from, to }) => ofRun.has(from) && ofRun.has(to));
};
