import type { RunData } from '../format/run-data.ts';
import type { TruthEvent } from '../format/truth.ts';
import { scoredEdges } from '../truth/edges.ts';
import { distances, type Edge, type EventGraph, eventGraph } from '../truth/event-graph.ts';
import { spanKey } from '../truth/span-graph.ts';

/** What a method predicts for one run: the content of PREDICTION.json. */
export interface Prediction {
  readonly method: string;
  /** The columns that the method read, for example `span.links`. Absent: it does not declare them. */
  readonly reads?: readonly string[];
  readonly edges: readonly Edge[];
  /** Candidates for the root cause of an event, best first. Default: derived from the edges. */
  readonly rankings?: readonly { readonly event: string; readonly candidates: readonly string[] }[];
}

/** Precision, recall and their harmonic mean; null if nothing was predicted or nothing is true. */
export interface Agreement {
  readonly precision: number | null;
  readonly recall: number | null;
  readonly f1: number | null;
}

/** How well a prediction agrees with the truth. */
export interface Score {
  readonly method: string;
  /** The columns that the method read; absent if it does not declare them. */
  readonly reads?: readonly string[];
  readonly event: Agreement;
  readonly span: Agreement;
  readonly service: Agreement;
  /** Fraction of trees (a root event with all that followed) that are predicted exactly. */
  readonly exactTrees: number | null;
  /** Fraction of pairs of a fault and a stopped machine between which the prediction has a path. */
  readonly reachability: number | null;
  /** Fraction of stopped machines whose fault is among the first 1, 3 and 5 candidates; the mean for 1 to 5. */
  readonly ac1: number | null;
  readonly ac3: number | null;
  readonly ac5: number | null;
  readonly avg5: number | null;
  /** Mean of 1 / rank of the fault. */
  readonly mrr: number | null;
  /** How much was compared. */
  readonly counts: {
    readonly edges: number;
    readonly predicted: number;
    readonly trees: number;
    readonly symptoms: number;
  };
}

/** The symptom whose fault is searched: a machine that stopped. */
const SYMPTOM = 'VmStopped';

/** Scores a prediction for a run. Edges of events before the timeline count neither as true nor as false. */
export const score = (data: RunData, prediction: Prediction): Score => {
  const events = new Map(data.events.map((event) => [event.id, event]));
  const truth = scoredEdges(data.events, data.edges);
  const isOfRun = (id: string): boolean => events.get(id)?.phase === 'run';
  const predicted = prediction.edges.filter(({ from, to }) => isOfRun(from) && isOfRun(to));
  const graphs = { truth: eventGraph(truth), predicted: eventGraph(predicted) };
  const levels = (name: (event: TruthEvent) => string): Agreement =>
    agreement(projected(truth, events, name), projected(predicted, events, name));
  const trees = treesOf(data, truth, graphs);
  const symptoms = symptomsOf(data, graphs.truth);
  const ranks = symptoms.map(({ root, event }) => rankOf(root, event, events, graphs.predicted, prediction));
  const within = (most: number): number | null => mean(ranks.map((rank) => (rank <= most ? 1 : 0)));
  return {
    method: prediction.method,
    ...(prediction.reads === undefined ? {} : { reads: prediction.reads }),
    event: levels(({ id }) => id),
    span: levels(spanKey),
    service: levels(({ service }) => service),
    exactTrees: mean(trees),
    reachability: mean(
      symptoms.map(({ root, event }) => (distances(root, graphs.predicted.effectsOf).has(event) ? 1 : 0)),
    ),
    ac1: within(1),
    ac3: within(3),
    ac5: within(5),
    avg5: mean([1, 2, 3, 4, 5].flatMap((most) => within(most) ?? [])),
    mrr: mean(ranks.map((rank) => 1 / rank)),
    counts: { edges: truth.length, predicted: predicted.length, trees: trees.length, symptoms: symptoms.length },
  };
};

/** Edges between the owners of events (`name`), each once, without edges from an owner to itself. */
const projected = (
  edges: readonly Edge[],
  events: ReadonlyMap<string, TruthEvent>,
  name: (event: TruthEvent) => string,
): ReadonlySet<string> =>
  new Set(
    edges.flatMap((edge) => {
      const [from, to] = [events.get(edge.from), events.get(edge.to)];
      if (from === undefined || to === undefined || name(from) === name(to)) return [];
      return [`${name(from)} → ${name(to)}`];
    }),
  );

const agreement = (truth: ReadonlySet<string>, predicted: ReadonlySet<string>): Agreement => {
  const hits = [...truth].filter((edge) => predicted.has(edge)).length;
  const precision = predicted.size === 0 ? null : hits / predicted.size;
  const recall = truth.size === 0 ? null : hits / truth.size;
  if (precision === null || recall === null) return { precision, recall, f1: null };
  return { precision, recall, f1: precision + recall === 0 ? 0 : (2 * precision * recall) / (precision + recall) };
};

interface Graphs {
  readonly truth: EventGraph;
  readonly predicted: EventGraph;
}

/** For each tree of the truth: 1 if the prediction has the same edges below its root, otherwise 0. */
const treesOf = ({ events }: RunData, truth: readonly Edge[], graphs: Graphs): readonly number[] => {
  const hasCause = new Set(truth.map(({ to }) => to));
  const roots = events.filter(({ id, phase }) => phase === 'run' && !hasCause.has(id));
  return roots.flatMap(({ id }) => {
    const expected = edgesBelow(id, graphs.truth);
    if (expected.size === 0) return [];
    const found = edgesBelow(id, graphs.predicted);
    return [expected.size === found.size && [...expected].every((edge) => found.has(edge)) ? 1 : 0];
  });
};

const edgesBelow = (root: string, graph: EventGraph): ReadonlySet<string> =>
  new Set(
    [root, ...distances(root, graph.effectsOf).keys()].flatMap((from) =>
      graph.effectsOf(from).map((to) => `${from} ${to}`),
    ),
  );

/** Machines that stopped because of a fault: each with the event that the fault took effect with. */
const symptomsOf = ({ events, faults }: RunData, truth: EventGraph): readonly { root: string; event: string }[] => {
  const stopped = new Set(events.filter(({ type }) => type === SYMPTOM).map(({ id }) => id));
  return faults.flatMap(({ rootEvent: root }) =>
    root === undefined
      ? []
      : [...distances(root, truth.effectsOf).keys()].filter((id) => stopped.has(id)).map((event) => ({ root, event })),
  );
};

/** Place of the root among the candidates, from 1; infinite if it is not among them. */
const rankOf = (
  root: string,
  event: string,
  events: ReadonlyMap<string, TruthEvent>,
  graph: EventGraph,
  { rankings }: Prediction,
): number => {
  const given = rankings?.find((one) => one.event === event)?.candidates;
  const candidates = given ?? candidatesOf(event, events, graph);
  const index = candidates.indexOf(root);
  return index < 0 ? Number.POSITIVE_INFINITY : index + 1;
};

/** Ancestors of an event, those without a cause of their own first, then the farthest, then the earliest. */
const candidatesOf = (event: string, events: ReadonlyMap<string, TruthEvent>, graph: EventGraph): readonly string[] => {
  const timeOf = (id: string): bigint => BigInt(events.get(id)?.timeUnixNano ?? 0);
  const isRoot = (id: string): number => (graph.causesOf(id).length === 0 ? 0 : 1);
  return [...distances(event, graph.causesOf)]
    .toSorted(([a, far], [b, farther]) => isRoot(a) - isRoot(b) || farther - far || Number(timeOf(a) - timeOf(b)))
    .map(([id]) => id);
};

const mean = (values: readonly number[]): number | null =>
  values.length === 0 ? null : values.reduce((sum, one) => sum + one, 0) / values.length;

/** The mean of the scores of several runs, measure by measure; runs without a value are left out. */
export const meanScore = (scores: readonly Score[]): Score => {
  const [first] = scores;
  if (first === undefined) throw new RangeError('a mean needs at least one score');
  const of = (read: (one: Score) => number | null): number | null => mean(scores.flatMap((one) => read(one) ?? []));
  const sum = (read: (one: Score) => number): number => scores.reduce((total, one) => total + read(one), 0);
  const level = (name: 'event' | 'span' | 'service'): Agreement => ({
    precision: of((one) => one[name].precision),
    recall: of((one) => one[name].recall),
    f1: of((one) => one[name].f1),
  });
  return {
    method: first.method,
    ...(first.reads === undefined ? {} : { reads: first.reads }),
    event: level('event'),
    span: level('span'),
    service: level('service'),
    exactTrees: of((one) => one.exactTrees),
    reachability: of((one) => one.reachability),
    ac1: of((one) => one.ac1),
    ac3: of((one) => one.ac3),
    ac5: of((one) => one.ac5),
    avg5: of((one) => one.avg5),
    mrr: of((one) => one.mrr),
    counts: {
      edges: sum((one) => one.counts.edges),
      predicted: sum((one) => one.counts.predicted),
      trees: sum((one) => one.counts.trees),
      symptoms: sum((one) => one.counts.symptoms),
    },
  };
};
