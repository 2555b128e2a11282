import { type PlacedSpan, spansIn } from '../format/otlp.ts';
import type { RunData } from '../format/run-data.ts';
import { msOf, type TruthFault } from '../format/truth.ts';
import { spanKey } from '../truth/span-graph.ts';
import { type MethodName, predictionOf } from './baselines.ts';

/** How much of the truth the spans of one run show, setup included. */
export interface TraceMeasures {
  readonly events: number;
  readonly edges: number;
  readonly spans: number;
  /** Fraction of the true edges between whose spans a path of parents or links exists. */
  readonly spanRecall: number;
  /** Fraction of the edges that the labels of spans name which are true. It judges the labels, not a method. */
  readonly labelPrecision: number;
  /** Precision and recall of the method `parents and links`, which reads no labels. */
  readonly blindPrecision: number;
  readonly blindRecall: number;
  /** Spans whose parent was not received. */
  readonly orphans: number;
  /** Those that no fault explains. */
  readonly unexplained: readonly string[];
}

/** Faults that end a process, and with it spans that it has not exported. */
const endsProcess = ({ action }: TruthFault): boolean => action === 'kill' || action === 'restart';
/** A killed process loses spans that it has not exported: those of at most this time before, in milliseconds. */
const lostBeforeMs = 2_000;

/** Measures the spans of a run against its truth. */
export const traceMeasures = (data: RunData): TraceMeasures => {
  const { events, edges, faults } = data;
  const spans = spansIn(data.traces);
  const truth = new Set(edges.map(({ from, to }) => `${from} ${to}`));
  const labels = predictedBy('labels', data);
  const blind = predictedBy('parents and links', data);
  const known = new Set(spans.map(spanKey));
  const orphans = spans.filter(
    ({ traceId, parentSpanId }) => parentSpanId && !known.has(spanKey({ traceId, spanId: parentSpanId })),
  );
  const kills = faults.filter(endsProcess);
  return {
    events: events.length,
    edges: edges.length,
    spans: spans.length,
    spanRecall: share(edges.filter(({ carriedBy }) => carriedBy !== 'none').length, edges.length),
    labelPrecision: share(common(labels, truth), labels.size),
    blindPrecision: share(common(blind, truth), blind.size),
    blindRecall: share(common(blind, truth), truth.size),
    orphans: orphans.length,
    unexplained: orphans.filter((span) => !kills.some((kill) => explains(kill, span))).map(described),
  };
};

const predictedBy = (name: MethodName, data: RunData): ReadonlySet<string> =>
  new Set(predictionOf(name, data).edges.map(({ from, to }) => `${from} ${to}`));

const common = (some: ReadonlySet<string>, others: ReadonlySet<string>): number =>
  [...some].filter((edge) => others.has(edge)).length;

const share = (part: number, all: number): number => (all === 0 ? 1 : part / all);

/** Whether the parent may have been lost with the process: the span began before the fault, and did not end long before it. */
const explains = ({ injectedUnixNano }: TruthFault, { startTimeUnixNano, endTimeUnixNano }: PlacedSpan): boolean => {
  const atMs = msOf(injectedUnixNano);
  return msOf(startTimeUnixNano) <= atMs + lostBeforeMs && msOf(endTimeUnixNano) >= atMs - lostBeforeMs;
};

const described = ({ service, name, traceId, spanId }: PlacedSpan): string => `${service} ${name} ${traceId}:${spanId}`;
