import { createHash } from 'node:crypto';
import { type PlacedSpan, spansIn, withSpans } from '../format/otlp.ts';
import type { RunData } from '../format/run-data.ts';
import type { Corruption } from '../format/truth.ts';

/**
 * Which traces are kept. `ratio`: head sampling, a fraction of the trace ids. `tail`: traces with an error, or among the slowest
 * 5 %. `chain`: that fraction of groups of traces that links connect, each group as a whole.
 */
export type SamplingPolicy = { readonly kind: 'ratio' | 'chain'; readonly ratio: number } | { readonly kind: 'tail' };

/** Fraction of traces that count as slow. */
const SLOW = 0.05;

/** Reads `ratio:0.1`, `tail`, `chain` (a tenth) or `chain:0.1`. @returns undefined for another text */
export const policyOf = (text: string): SamplingPolicy | undefined => {
  if (text === 'tail') return { kind: 'tail' };
  const [, kind, ratio = '0.1'] = /^(ratio|chain)(?::(0?\.\d+|[01]))?$/.exec(text) ?? [];
  if (kind !== 'ratio' && kind !== 'chain') return undefined;
  return { kind, ratio: Number(ratio) };
};

/** Removes the traces that the policy does not keep, and records that. */
export const sample = (data: RunData, policy: SamplingPolicy): RunData => {
  const spans = spansIn(data.traces);
  const kept = tracesKept(spans, policy, data.facts.run);
  const corruption: Corruption[] = [...data.corruption];
  const traces = withSpans(data.traces, (span, service) => {
    if (kept.has(span.traceId)) return span;
    corruption.push({ kind: 'drop', service, original: span });
    return undefined;
  });
  const name = policy.kind === 'tail' ? 'tail' : `${policy.kind}:${policy.ratio}`;
  const changes = [...data.facts.changes, `sampled with the policy ${name}: ${kept.size} traces kept`];
  return { ...data, traces, corruption, facts: { ...data.facts, changes } };
};

/** Trace ids that a policy keeps. @param run mixed into each decision: runs of the simulation have the same ids */
const tracesKept = (spans: readonly PlacedSpan[], policy: SamplingPolicy, run: string): ReadonlySet<string> => {
  const byTrace = Map.groupBy(spans, ({ traceId }) => traceId);
  const ids = [...byTrace.keys()];
  if (policy.kind === 'ratio') return new Set(ids.filter((id) => isIn(`${run} ${id}`, policy.ratio)));
  if (policy.kind === 'chain') {
    const groupOf = linkedGroups(byTrace);
    return new Set(ids.filter((id) => isIn(`${run} ${groupOf(id)}`, policy.ratio)));
  }
  const durations = new Map([...byTrace].map(([id, all]) => [id, durationOf(all)]));
  const sorted = [...durations.values()].toSorted((a, b) => a - b);
  const slowNano = sorted[Math.floor(sorted.length * (1 - SLOW))] ?? Number.POSITIVE_INFINITY;
  return new Set(
    [...byTrace].flatMap(([id, all]) =>
      all.some(({ status }) => status?.code === 2) || (durations.get(id) ?? 0) >= slowNano ? [id] : [],
    ),
  );
};

/** The same decision for the same id. A hash, because ids of the simulation are counted and not random. */
const isIn = (id: string, ratio: number): boolean =>
  createHash('sha256').update(id).digest().readUInt32BE(0) / 2 ** 32 < ratio;

const durationOf = (spans: readonly PlacedSpan[]): number => {
  const [first] = spans;
  if (first === undefined) return 0;
  // Differences are small enough for a number.
  const since = (nano: string): number => Number(BigInt(nano) - BigInt(first.startTimeUnixNano));
  const starts = spans.map(({ startTimeUnixNano }) => since(startTimeUnixNano));
  return Math.max(...spans.map(({ endTimeUnixNano }) => since(endTimeUnixNano))) - Math.min(...starts);
};

/** Groups of traces that links connect, each named by its smallest trace id. */
const linkedGroups = (byTrace: ReadonlyMap<string, readonly PlacedSpan[]>): ((id: string) => string) => {
  const groups = new Map<string, string>();
  const rootOf = (id: string): string => {
    let root = id;
    for (let next = groups.get(root); next !== undefined && next !== root; next = groups.get(root)) root = next;
    groups.set(id, root);
    return root;
  };
  for (const [id, spans] of byTrace) {
    for (const { traceId } of spans.flatMap(({ links = [] }) => links)) {
      const [a, b] = [rootOf(id), rootOf(traceId)];
      const [first = a, second = b] = [a, b].toSorted();
      groups.set(second, first);
    }
  }
  return rootOf;
};
