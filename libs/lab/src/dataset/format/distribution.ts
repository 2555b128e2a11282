import { distances, eventGraph } from '../truth/event-graph.ts';
import { graphHash } from '../truth/graph-hash.ts';
import type { Distribution, Spread } from './manifest.ts';
import type { RunData } from './run-data.ts';

/** What a run contributes to the distribution of its data set. */
export interface RunProfile {
  /** `graphHash` of its events: runs with the same one are never in two splits. */
  readonly graph: string;
  readonly events: number;
  readonly edges: number;
  readonly spans: number;
  readonly machines: number;
  /** Actions of its timeline, without undos. */
  readonly actions: readonly string[];
  /** Machines that stopped because of a fault; those of them in another trace than the fault. */
  readonly symptoms: number;
  readonly symptomsInOtherTraces: number;
}

/** The profile of a run. */
export const profileOf = ({ events, edges, traces, faults }: RunData): RunProfile => {
  const byId = new Map(events.map((event) => [event.id, event]));
  const graph = eventGraph(edges);
  const symptoms = faults.flatMap(({ rootEvent }) =>
    rootEvent === undefined
      ? []
      : [...distances(rootEvent, graph.effectsOf).keys()]
          .filter((id) => byId.get(id)?.type === 'VmStopped')
          .map((id) => byId.get(id)?.traceId !== byId.get(rootEvent)?.traceId),
  );
  return {
    graph: graphHash(events),
    events: events.length,
    edges: edges.length,
    spans: traces.reduce(
      (sum, { resourceSpans = [] }) =>
        sum + resourceSpans.flatMap(({ scopeSpans = [] }) => scopeSpans.flatMap(({ spans = [] }) => spans)).length,
      0,
    ),
    machines: new Set(
      events.flatMap(({ stream, service }) => (service === 'compute' && stream.startsWith('vm-') ? [stream] : [])),
    ).size,
    actions: faults.flatMap(({ action, undoes }) => (undoes === undefined ? [action] : [])),
    symptoms: symptoms.length,
    symptomsInOtherTraces: symptoms.filter((isOther) => isOther).length,
  };
};

const spread = (values: readonly number[]): Spread => ({
  least: Math.min(...values),
  mean: Number((values.reduce((sum, one) => sum + one, 0) / values.length).toFixed(1)),
  most: Math.max(...values),
});

/** Summarizes profiles. @throws RangeError without any */
export const distributionOf = (profiles: readonly RunProfile[]): Distribution => {
  if (profiles.length === 0) throw new RangeError('a distribution needs at least one run');
  const actions = new Map<string, number>();
  for (const { actions: of } of profiles) for (const one of new Set(of)) actions.set(one, (actions.get(one) ?? 0) + 1);
  const of = (read: (one: RunProfile) => number): Spread => spread(profiles.map(read));
  const sum = (read: (one: RunProfile) => number): number => profiles.reduce((total, one) => total + read(one), 0);
  return {
    runs: profiles.length,
    distinctGraphs: new Set(profiles.map(({ graph }) => graph)).size,
    machines: of(({ machines }) => machines),
    events: of(({ events }) => events),
    edges: of(({ edges }) => edges),
    spans: of(({ spans }) => spans),
    actions: Object.fromEntries([...actions].toSorted(([a], [b]) => a.localeCompare(b))),
    symptoms: sum(({ symptoms }) => symptoms),
    symptomsInOtherTraces: sum(({ symptomsInOtherTraces }) => symptomsInOtherTraces),
  };
};
