import { spansIn } from '../format/otlp.ts';
import type { RunData } from '../format/run-data.ts';
import { msOf, type TruthEvent } from '../format/truth.ts';
import { byTime } from '../truth/faults.ts';
import { referencesOf, spanGraph, spanKey } from '../truth/span-graph.ts';

/** A step of a path, oldest first. */
export interface PathStep {
  readonly service: string;
  readonly what: string;
  /** Milliseconds since the epoch. */
  readonly atMs: number;
}

/** The path to an event: by the stored causes, and by the spans. */
export interface CriticalPath {
  readonly event: TruthEvent;
  readonly causes: readonly PathStep[];
  readonly spans: readonly PathStep[];
}

/** Paths to each event of that type in the timeline. */
export const criticalPaths = (data: RunData, type: string): readonly CriticalPath[] => {
  const byId = new Map(data.events.map((event) => [event.id, event]));
  const graph = spanGraph(spansIn(data.traces));
  return data.events
    .filter((event) => event.type === type && event.phase === 'run')
    .toSorted(byTime)
    .map((event) => ({
      event,
      causes: walkedBack(event, ({ causes }) =>
        latest(
          causes.flatMap(({ id }) => byId.get(id) ?? []),
          timeOf,
        ),
      ).map(({ service, type: what, stream, timeUnixNano }) => ({
        service,
        what: `${what} ${stream}`,
        atMs: msOf(timeUnixNano),
      })),
      spans: walkedBack(graph.spans.get(spanKey(event)), (span) =>
        latest(
          referencesOf(graph, spanKey(span), 'both').flatMap((key) => graph.spans.get(key) ?? []),
          ({ startTimeUnixNano }) => BigInt(startTimeUnixNano),
        ),
      ).map(({ service, name, startTimeUnixNano }) => ({ service, what: name, atMs: msOf(startTimeUnixNano) })),
    }));
};

const timeOf = ({ timeUnixNano }: TruthEvent): bigint => BigInt(timeUnixNano);

const latest = <One>(all: readonly One[], time: (one: One) => bigint): One | undefined =>
  all.reduce<One | undefined>((best, one) => (best === undefined || time(one) > time(best) ? one : best), undefined);

/** The path from the start to `end`, oldest first. It ends before an entry would repeat. */
const walkedBack = <One>(end: One | undefined, before: (one: One) => One | undefined): readonly One[] => {
  const path: One[] = [];
  for (let one = end; one !== undefined && !path.includes(one); one = before(one)) path.unshift(one);
  return path;
};
