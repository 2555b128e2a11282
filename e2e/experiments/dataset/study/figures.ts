import {
  type Agreement,
  baselineNames,
  blindMethods,
  type Degradation,
  degrade,
  type MethodName,
  meanScore,
  policyOf,
  predictionOf,
  type RunData,
  type Score,
  sample,
  score,
  scoredEdges,
  spansIn,
  type TruthEdge,
} from '@interlock/lab/dataset';

/** A point of a curve. */
export interface Point {
  /** The varied quantity: a fraction, or milliseconds. */
  readonly x: number;
  readonly y: number;
}

/** A curve of a plot. */
export interface Curve {
  readonly name: string;
  readonly points: readonly Point[];
}

/** The results of one sampling policy. */
export interface SamplingRow {
  readonly policy: string;
  /** Fraction of spans that it keeps. */
  readonly kept: number;
  /** Recall of edges between events, by parents and links. */
  readonly recall: number;
  /** Fraction of stops that can still be traced to their fault. */
  readonly explained: number;
}

/** The edges of one kind, by how spans carry them. */
export interface CarriedRow {
  readonly kind: string;
  readonly edges: number;
  readonly parent: number;
  readonly link: number;
  readonly none: number;
}

/** Every figure of the study. */
export interface StudyFigures {
  readonly title: string;
  readonly runs: number;
  readonly spans: number;
  readonly events: number;
  readonly edges: number;
  readonly bytes: number;
  readonly baselines: readonly Score[];
  readonly carried: readonly CarriedRow[];
  readonly loss: readonly Curve[];
  readonly skew: readonly Curve[];
  readonly sampling: readonly SamplingRow[];
}

const lossFractions = [0, 0.01, 0.02, 0.05, 0.1, 0.2, 0.4];
const skewsMs = [0, 1, 5, 20, 100, 500];
const policies = ['ratio:0.5', 'ratio:0.2', 'ratio:0.1', 'chain:0.5', 'chain:0.2', 'chain:0.1', 'tail'];
/** The service whose clock is wrong. */
const skewedService = 'compute';

/** Computes every figure from recorded runs. */
export const studyFigures = (title: string, runs: readonly RunData[]): StudyFigures => {
  const spans = runs.reduce((sum, { traces }) => sum + spansIn(traces).length, 0);
  const bytes = runs.reduce((sum, { traces }) => sum + JSON.stringify(traces).length, 0);
  return {
    title,
    runs: runs.length,
    spans,
    events: runs.reduce((sum, { events }) => sum + events.length, 0),
    edges: runs.reduce((sum, { edges }) => sum + edges.length, 0),
    bytes,
    baselines: baselineNames.map((name) => meanScore(runs.map((run) => score(run, predictionOf(name, run))))),
    carried: carriedRows(runs.flatMap(({ events, edges }) => scoredEdges(events, edges))),
    loss: blindMethods.map((name) => ({
      name,
      points: lossFractions.map((x) => ({
        x,
        y: recallOf(runs, name, (run, seed) => degrade(run, damage({ drop: x, seed }))),
      })),
    })),
    skew: blindMethods.map((name) => ({
      name,
      points: skewsMs.map((x) => ({
        x,
        y: recallOf(runs, name, (run, seed) => degrade(run, damage({ skewMs: x, seed }))),
      })),
    })),
    sampling: policies.map((policy) => samplingRow(runs, policy)),
  };
};

const damage = ({ drop = 0, skewMs = 0, seed }: { drop?: number; skewMs?: number; seed: number }): Degradation => ({
  drop,
  late: 0,
  lateNano: 0n,
  skew: new Map([[skewedService, BigInt(-skewMs) * 1_000_000n]]),
  seed,
});

const recallOf = (
  runs: readonly RunData[],
  method: MethodName,
  change: (run: RunData, seed: number) => RunData,
): number => {
  const scores = runs.map((run, index) => {
    const changed = change(run, index + 1);
    return score(changed, predictionOf(method, changed));
  });
  return measureOf(meanScore(scores).event, 'recall');
};

const measureOf = (agreement: Agreement, name: keyof Agreement): number => agreement[name] ?? 0;

const samplingRow = (runs: readonly RunData[], policy: string): SamplingRow => {
  const wanted = policyOf(policy);
  if (wanted === undefined) throw new RangeError(`${policy} is no sampling policy`);
  const sampled = runs.map((run) => sample(run, wanted));
  const count = (all: readonly RunData[]): number => all.reduce((sum, { traces }) => sum + spansIn(traces).length, 0);
  const mean = meanScore(sampled.map((run) => score(run, predictionOf('parents and links', run))));
  return {
    policy,
    kept: count(sampled) / count(runs),
    recall: measureOf(mean.event, 'recall'),
    explained: mean.reachability ?? 0,
  };
};

const carriedRows = (edges: readonly TruthEdge[]): readonly CarriedRow[] =>
  [...Map.groupBy(edges, ({ kind }) => kind)]
    .toSorted(([a], [b]) => a.localeCompare(b))
    .map(([kind, all]) => {
      const of = (how: TruthEdge['carriedBy']): number =>
        all.filter(({ carriedBy }) => carriedBy === how).length / all.length;
      return { kind, edges: all.length, parent: of('parent'), link: of('link'), none: of('none') };
    });
