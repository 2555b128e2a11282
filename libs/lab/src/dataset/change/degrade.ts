import { type SeededRandom, seededRandom } from '@interlock/runtime';
import { type OtlpSpan, withSpans } from '../format/otlp.ts';
import type { RunData } from '../format/run-data.ts';
import type { Corruption } from '../format/truth.ts';

/** What to do to the spans of a run. */
export interface Degradation {
  /** Fraction of spans that are left out, from 0 to 1. */
  readonly drop: number;
  /** Fraction of spans whose times are late, from 0 to 1. */
  readonly late: number;
  /** How late these are, in nanoseconds. */
  readonly lateNano: bigint;
  /** By service: how far its clock is ahead, in nanoseconds. */
  readonly skew: ReadonlyMap<string, bigint>;
  readonly seed: number;
}

/**
 * Damages the spans of a run, and records each change. The truth stays. Edges keep their `carriedBy`, which describes the complete
 * spans.
 */
export const degrade = (data: RunData, wanted: Degradation): RunData => {
  const random = seededRandom(wanted.seed);
  const corruption: Corruption[] = [...data.corruption];
  const traces = withSpans(data.traces, (span, service) => {
    if (random.fraction() < wanted.drop) {
      corruption.push({ kind: 'drop', service, original: span });
      return undefined;
    }
    const skewed = shifted(span, wanted.skew.get(service) ?? 0n, 'skew', service, corruption);
    return shifted(skewed, isLate(random, wanted) ? wanted.lateNano : 0n, 'late', service, corruption);
  });
  return { ...data, traces, corruption, facts: { ...data.facts, changes: [...data.facts.changes, described(wanted)] } };
};

const isLate = (random: SeededRandom, { late }: Degradation): boolean => random.fraction() < late;

const shifted = (
  span: OtlpSpan,
  by: bigint,
  kind: 'skew' | 'late',
  service: string,
  corruption: Corruption[],
): OtlpSpan => {
  if (by === 0n) return span;
  const { traceId, spanId, startTimeUnixNano, endTimeUnixNano } = span;
  const original = { startTimeUnixNano, endTimeUnixNano };
  corruption.push({ kind, service, traceId, spanId, shiftNano: String(by), original });
  const later = (nano: string): string => String(BigInt(nano) + by);
  return {
    ...span,
    startTimeUnixNano: later(startTimeUnixNano),
    endTimeUnixNano: later(endTimeUnixNano),
    ...(span.events === undefined
      ? {}
      : { events: span.events.map((event) => ({ ...event, timeUnixNano: later(event.timeUnixNano) })) }),
  };
};

const described = ({ drop, late, lateNano, skew, seed }: Degradation): string =>
  [
    `degraded with seed ${seed}`,
    `${drop * 100} % of spans dropped`,
    `${late * 100} % of spans ${Number(lateNano) / 1e6} ms late`,
    ...[...skew].map(([service, nano]) => `clock of ${service} ${Number(nano) / 1e6} ms ahead`),
  ].join(', ');
