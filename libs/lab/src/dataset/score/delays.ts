import type { PlacedSpan } from '../format/otlp.ts';
import { msOf, type TruthEvent } from '../format/truth.ts';
import type { Edge } from '../truth/event-graph.ts';
import { spanKey } from '../truth/span-graph.ts';

/*
 * After TraceWeaver (Ashok et al., "TraceWeaver: Distributed Request Tracing for Microservices Without Application Modification",
 * SIGCOMM 2024): which earlier operation led to which later one is inferred from times alone. For each pair of kinds of operations the
 * delays are taken as normally distributed; each operation is given the earlier one that is most likely, and the distributions are
 * estimated again from that, until nothing changes. Here an operation is an event, and its kind is its service and type.
 * Not taken over: the joint optimization over all operations of a batch, and dynamism (skipped calls).
 */

/** Longest delay between cause and effect, in milliseconds. */
const WITHIN_MS = 1_000;
const ROUNDS = 5;
/** Least deviation of a delay, in milliseconds: the resolution of the stored times. */
const LEAST_MS = 0.5;

interface Seen {
  readonly event: TruthEvent;
  readonly kind: string;
  readonly atMs: number;
}

/** Number, sum and sum of squares of delays. */
interface Delays {
  count: number;
  sum: number;
  squares: number;
}

/** Logarithm of the likelihood of a delay, with the share of effects of this kind that the pair explains. */
const likelihood = ({ count, sum, squares }: Delays, effects: number, delayMs: number): number => {
  const mean = sum / count;
  const deviation = Math.max(LEAST_MS, Math.sqrt(Math.max(0, squares / count - mean * mean)));
  return Math.log(count / effects) - Math.log(deviation) - (delayMs - mean) ** 2 / (2 * deviation * deviation);
};

/** The most likely cause of each event, by delays. Times are the starts of spans, so an event whose span was lost is not seen. */
export const fromDelays = (spans: readonly PlacedSpan[], events: readonly TruthEvent[]): readonly Edge[] => {
  const starts = new Map(spans.map((span) => [spanKey(span), msOf(span.startTimeUnixNano)]));
  const seen = events
    .flatMap((event): Seen[] => {
      const atMs = starts.get(spanKey(event));
      return atMs === undefined ? [] : [{ event, kind: `${event.service} ${event.type}`, atMs }];
    })
    .toSorted((a, b) => a.atMs - b.atMs || a.event.position - b.event.position);
  const candidates = seen.map((effect, index) => {
    const before: Seen[] = [];
    for (let at = index - 1; at >= 0; at -= 1) {
      const one = seen[at];
      if (one === undefined || effect.atMs - one.atMs > WITHIN_MS) break;
      if (one.kind !== effect.kind) before.push(one);
    }
    return { effect, before };
  });
  const effects = new Map([...Map.groupBy(seen, ({ kind }) => kind)].map(([kind, all]) => [kind, all.length]));
  // At first the newest event of each kind may be the cause.
  let chosen = candidates.map(({ before }) => [...new Map(before.toReversed().map((one) => [one.kind, one])).values()]);
  for (let round = 0; round < ROUNDS; round += 1) {
    const delays = new Map<string, Delays>();
    for (const [index, { effect }] of candidates.entries())
      for (const cause of chosen[index] ?? []) {
        const key = `${cause.kind} > ${effect.kind}`;
        const of = delays.get(key) ?? { count: 0, sum: 0, squares: 0 };
        const delayMs = effect.atMs - cause.atMs;
        delays.set(key, { count: of.count + 1, sum: of.sum + delayMs, squares: of.squares + delayMs * delayMs });
      }
    chosen = candidates.map(({ effect, before }) => {
      const scored = before.flatMap((cause) => {
        const of = delays.get(`${cause.kind} > ${effect.kind}`);
        return of === undefined
          ? []
          : [{ cause, score: likelihood(of, effects.get(effect.kind) ?? 1, effect.atMs - cause.atMs) }];
      });
      const best = scored.reduce<(typeof scored)[number] | undefined>(
        (top, one) => (top === undefined || one.score > top.score ? one : top),
        undefined,
      );
      return best === undefined ? [] : [best.cause];
    });
  }
  return candidates.flatMap(({ effect }, index) =>
    (chosen[index] ?? []).map((cause) => ({ from: cause.event.id, to: effect.event.id })),
  );
};
