import type { RecordedEvent, StreamName } from '@interlock/event-store';
import type { Histories } from '../../judge/causes/history.ts';
import { judgeCauses } from '../../judge/causes/judge-causes.ts';
import { type TracesRequest, withSpans } from '../format/otlp.ts';
import type { RunData } from '../format/run-data.ts';
import { msOf, type TruthEdge, type TruthEvent, type TruthFault } from '../format/truth.ts';
import { edgesOf } from '../truth/edges.ts';
import { distances, eventGraph } from '../truth/event-graph.ts';
import { faultsOf } from '../truth/faults.ts';

/*
 * A data set holds everything twice: what happened, and what was derived from it. These checks derive it again. So a change of one
 * of the two is found, although all hashes are right.
 */

/** What is wrong with the truth of a run: causes against the data of the events, edges against causes and spans, roots against losses. */
export const wrongTruth = (data: RunData): readonly string[] => [
  ...judgeCauses(historiesOf(data.events)).faults.map((fault) => `truth/events.jsonl: ${fault}`),
  ...wrongEdges(data),
  ...wrongFaults(data),
];

/** The events as the services stored them, as far as the rules about causes read them. */
const historiesOf = (events: readonly TruthEvent[]): Histories =>
  Object.fromEntries(
    [...Map.groupBy(events, ({ service }) => service)].map(([service, all]) => [
      service,
      numbered(all.toSorted((a, b) => a.position - b.position)),
    ]),
  );

/** A feed is complete, so the version of an event is its number in its stream. */
const numbered = (feed: readonly TruthEvent[]): readonly RecordedEvent[] => {
  const versions = new Map<string, number>();
  return feed.map((event) => {
    const version = (versions.get(event.stream) ?? 0) + 1;
    versions.set(event.stream, version);
    return recorded(event, version);
  });
};

const recorded = (event: TruthEvent, version: number): RecordedEvent => ({
  position: event.position,
  stream: event.stream as StreamName,
  version,
  type: event.type,
  schema: 1,
  data: event.data,
  id: event.id,
  time: Math.floor(msOf(event.timeUnixNano)) as RecordedEvent['time'],
  cause: {
    correlationId: event.correlationId,
    causes: event.causes,
    caller: event.caller,
    ...(event.traceId === '' ? {} : { traceparent: `00-${event.traceId}-${event.spanId}-01` }),
  },
});

/** The spans as they were recorded: with those that a later change of the data set dropped, so `carriedBy` can be compared. */
export const recordedTraces = ({ traces, corruption }: RunData): readonly TracesRequest[] => {
  const dropped = corruption.flatMap((one) => (one.kind === 'drop' ? [one] : []));
  if (dropped.length === 0) return traces;
  return [
    ...withSpans(traces, (span) => span),
    ...dropped.map(({ service, original }): TracesRequest => {
      const attributes = [{ key: 'service.name', value: { stringValue: service } }];
      return { resourceSpans: [{ resource: { attributes }, scopeSpans: [{ spans: [original] }] }] };
    }),
  ];
};

const nameOf = ({ from, to, kind }: TruthEdge): string => `${from} → ${to} (${kind})`;

const wrongEdges = (data: RunData): readonly string[] => {
  const expected = new Map(edgesOf(data.events, recordedTraces(data)).map((edge) => [nameOf(edge), edge]));
  const found = new Map(data.edges.map((edge) => [nameOf(edge), edge]));
  const missing = [...expected.keys()].filter((name) => !found.has(name));
  const surplus = [...found.keys()].filter((name) => !expected.has(name));
  const different = [...expected].flatMap(([name, edge]) => {
    const other = found.get(name);
    if (other === undefined) return [];
    if (other.carriedBy !== edge.carriedBy)
      return [`the edge ${name} has carriedBy ${other.carriedBy}, and its spans say ${edge.carriedBy}`];
    return other.crossService === edge.crossService ? [] : [`the edge ${name} has crossService ${other.crossService}`];
  });
  return [
    ...missing.map((name) => `the edge ${name} is missing: the events name it`),
    ...surplus.map((name) => `the edge ${name} is in no event`),
    ...different,
  ].map((what) => `truth/edges.jsonl: ${what}`);
};

/** The steps of the timeline as they were recorded, so that their root events can be searched again. */
const stepOf = (fault: TruthFault) => ({
  name: fault.name,
  action: fault.action,
  targets: fault.targets,
  ...(fault.undoes === undefined ? {} : { undoes: fault.undoes }),
  plannedMs: msOf(fault.plannedUnixNano),
  invokedMs: msOf(fault.injectedUnixNano),
  ...(fault.effectUnixNano === undefined ? {} : { effectMs: msOf(fault.effectUnixNano) }),
  ...(fault.traceId === undefined ? {} : { traceId: fault.traceId }),
  ...(fault.keyVersions === undefined ? {} : { keyVersions: fault.keyVersions }),
});

/** The key of a key version. */
const keyOf = (version: string): string => version.slice(0, version.indexOf('/versions/'));

const wrongFaults = (data: RunData): readonly string[] => {
  const expected = faultsOf(data.faults.map(stepOf), data);
  const graph = eventGraph(data.edges);
  const byId = new Map(data.events.map((event) => [event.id, event]));
  return data.faults
    .flatMap((fault, index) => {
      const { rootEvent, firstEffect } = expected[index] ?? {};
      const wrong = [
        ...(fault.rootEvent === rootEvent ? [] : [`the root event ${fault.rootEvent}, and its loss says ${rootEvent}`]),
        ...(fault.firstEffect === firstEffect
          ? []
          : [`the first effect ${fault.firstEffect}, and the edges say ${firstEffect}`]),
      ].map((what) => `${fault.name} has ${what}`);
      const { keyVersions: taken, rootEvent: root } = fault;
      if (taken === undefined || root === undefined) return wrong;
      // A version that the key got meanwhile is lost as well.
      const keys = new Set(taken.map(keyOf));
      const foreign = [...distances(root, graph.effectsOf).keys()].flatMap((id) => {
        const event = byId.get(id);
        const lost = event?.type === 'KeyAccessLost' ? event.data.keyVersion : undefined;
        return typeof lost === 'string' && !keys.has(keyOf(lost))
          ? [`${fault.name} took ${lost} away, which is not its own`]
          : [];
      });
      return [...wrong, ...foreign];
    })
    .map((what) => `truth/faults.jsonl: ${what}`);
};
