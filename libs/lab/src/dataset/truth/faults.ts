import type { TruthEdge, TruthEvent, TruthFault } from '../format/truth.ts';
import { msOf, nanosOf } from '../format/truth.ts';
import { distances, eventGraph } from './event-graph.ts';

/** A step of a timeline as the engine of experiments recorded it. Times in milliseconds since the epoch. */
export interface TimelineStep {
  readonly name: string;
  readonly action: string;
  readonly targets: readonly string[];
  readonly undoes?: string;
  readonly plannedMs: number;
  readonly invokedMs: number;
  readonly doneMs?: number;
  readonly effectMs?: number;
  readonly traceId?: string;
  readonly keyVersions?: readonly string[];
}

/** Events and edges of a run. */
export interface RunTruth {
  readonly events: readonly TruthEvent[];
  readonly edges: readonly TruthEdge[];
}

/** Steps of the timeline with the event that each took effect with, and the first event that followed elsewhere. */
export const faultsOf = (steps: readonly TimelineStep[], truth: RunTruth): readonly TruthFault[] => {
  const graph = eventGraph(truth.edges);
  const byId = new Map(truth.events.map((event) => [event.id, event]));
  return steps.map((step) => {
    const { name, action, targets, undoes, plannedMs, invokedMs, effectMs, traceId, keyVersions } = step;
    const root = rootOf(step, truth.events);
    const effects = root === undefined ? [] : [...distances(root.id, graph.effectsOf).keys()];
    const first = effects
      .flatMap((id) => byId.get(id) ?? [])
      .filter(({ service }) => service !== root?.service)
      .toSorted(byTime)[0];
    const end = steps.find((other) => other.undoes === name);
    const endMs = end?.effectMs ?? end?.doneMs;
    return {
      name,
      action,
      targets,
      ...(undoes === undefined ? {} : { undoes }),
      plannedUnixNano: nanosOf(plannedMs),
      injectedUnixNano: nanosOf(invokedMs),
      ...(effectMs === undefined ? {} : { effectUnixNano: nanosOf(effectMs) }),
      ...(endMs === undefined ? {} : { endUnixNano: nanosOf(endMs) }),
      ...(traceId === undefined ? {} : { traceId }),
      ...(keyVersions === undefined ? {} : { keyVersions }),
      ...(root === undefined ? {} : { rootEvent: root.id }),
      ...(first === undefined ? {} : { firstEffect: first.id }),
    };
  });
};

/** The event that a step took effect with: the first of its trace, which was stored at the time of the effect. */
const rootOf = ({ effectMs, traceId }: TimelineStep, events: readonly TruthEvent[]): TruthEvent | undefined => {
  if (effectMs === undefined) return undefined;
  const atThatTime = events.filter(
    (event) => Math.floor(msOf(event.timeUnixNano)) === Math.floor(effectMs) && event.causes.length === 0,
  );
  return atThatTime.find((event) => event.traceId === traceId) ?? (traceId === undefined ? atThatTime[0] : undefined);
};

/** By time, then by service and position. */
export const byTime = (a: TruthEvent, b: TruthEvent): number =>
  Number(BigInt(a.timeUnixNano) - BigInt(b.timeUnixNano)) ||
  a.service.localeCompare(b.service) ||
  a.position - b.position;
