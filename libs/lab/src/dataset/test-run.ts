import type { KeyValue, OtlpSpan, ResourceSpans } from './format/otlp.ts';
import type { RunData } from './format/run-data.ts';
import type { TruthEvent } from './format/truth.ts';
import { edgesOf } from './truth/edges.ts';
import { faultsOf } from './truth/faults.ts';
import { exportsOf } from './truth/span-counts.ts';

const KEY_VERSION = 'vaults/kv/keys/k/versions/1';
const START_MS = 1_700_000_000_000;
const text = (key: string, stringValue: string): KeyValue => ({ key, value: { stringValue } });
const hex = (value: number, digits: number): string => value.toString(16).padStart(digits, '0');
const nano = (ms: number): string => String(BigInt(START_MS + ms) * 1_000_000n);

const span = (
  trace: number,
  id: number,
  more: Partial<OtlpSpan> & { readonly name: string; readonly atMs: number },
): OtlpSpan => {
  const { atMs, ...rest } = more;
  return {
    traceId: hex(trace, 32),
    spanId: hex(id, 16),
    kind: 1,
    // Sampled, with a local parent, as the SDK sends it.
    flags: 257,
    startTimeUnixNano: nano(atMs),
    endTimeUnixNano: nano(atMs + 2),
    attributes: [text('x', 'y')],
    status: { code: 0 },
    ...rest,
  };
};

const resourceSpans = (service: string, spans: readonly OtlpSpan[]): ResourceSpans => ({
  resource: { attributes: [text('service.name', service), text('interlock.run.id', 'run-1')] },
  scopeSpans: [{ scope: { name: 'interlock' }, spans }],
});

const link = (trace: number, id: number) => ({ traceId: hex(trace, 32), spanId: hex(id, 16) });

/** Spans of the run, as three exports. */
const tracesOfRun = (): RunData['traces'] => [
  {
    resourceSpans: [
      resourceSpans('key-vault', [
        span(1, 1, { name: 'DisableKeyVersion', atMs: 10 }),
        span(1, 2, { name: 'publish', atMs: 11, parentSpanId: hex(1, 16), kind: 4 }),
      ]),
    ],
  },
  {
    resourceSpans: [
      resourceSpans('disk-encryption-set', [span(2, 3, { name: 'process', atMs: 20, kind: 5, links: [link(1, 2)] })]),
    ],
  },
  {
    resourceSpans: [
      resourceSpans('compute', [
        span(2, 4, { name: 'stop', atMs: 30, parentSpanId: hex(3, 16), status: { code: 2, message: 'no' } }),
        span(3, 5, { name: 'StartVirtualMachine', atMs: 30 }),
      ]),
    ],
  },
];

/** An event as a service stored it. @param at of its span, in milliseconds after the start */
const event = (
  service: string,
  position: number,
  id: string,
  type: string,
  at: [trace: number, span: number, ms: number],
  stream: string,
  more: Partial<TruthEvent> = {},
): TruthEvent => ({
  service,
  position,
  id,
  stream,
  type,
  timeUnixNano: nano(at[2]),
  causes: [],
  correlationId: id,
  caller: 'principals/user',
  data: {},
  traceId: hex(at[0], 32),
  spanId: hex(at[1], 16),
  phase: 'run',
  ...more,
});

const eventsOfRun = (): readonly TruthEvent[] => [
  event('key-vault', 1, 'disabled', 'KeyVersionDisabled', [1, 1, 10], 'key-vaults/kv/keys/k'),
  event('disk-encryption-set', 1, 'lost', 'KeyAccessLost', [2, 3, 20], 'set-s', {
    causes: [{ id: 'disabled', kind: 'message' }],
    data: { keyVersion: KEY_VERSION, epoch: 1 },
  }),
  event('compute', 1, 'stopping', 'VmStopping', [2, 4, 30], 'vm-v', {
    causes: [{ id: 'lost', kind: 'message' }],
    data: {
      work: { kind: 'keyStop' },
      reason: { set: 's', keyVersion: KEY_VERSION, since: 1, reason: 'KEY_DISABLED' },
    },
  }),
  // Stored by the same commit.
  event('compute', 2, 'stopped', 'VmStopped', [2, 4, 30], 'vm-v', { causes: [{ id: 'stopping', kind: 'step' }] }),
  event('compute', 3, 'started', 'VmCreationStarted', [3, 5, 30], 'vm-w'),
];

/** The step that disables the key. */
const step = {
  name: 'loss',
  action: 'disable',
  targets: ['premium'],
  plannedMs: START_MS,
  invokedMs: START_MS + 9,
  effectMs: START_MS + 10,
};

const factsOfRun = (): RunData['facts'] => ({
  run: 'run-1',
  title: 'A test',
  seed: 1,
  target: 'simulated',
  startedAt: '2023-11-14T22:13:20.000Z',
  endedAt: '2023-11-14T22:13:21.000Z',
  outcome: 'held',
  versions: { node: 'v24' },
  hardware: {},
  changes: [],
});

/** One record, with the span of the stop. */
const logsOfRun = (): RunData['logs'] => [
  {
    resourceLogs: [
      {
        resource: { attributes: [text('service.name', 'compute'), text('interlock.run.id', 'run-1')] },
        scopeLogs: [
          {
            logRecords: [
              {
                timeUnixNano: nano(30),
                severityText: 'WARN',
                body: { stringValue: 'machine, "stopped"' },
                traceId: hex(2, 32),
                spanId: hex(4, 16),
              },
            ],
          },
        ],
      },
    ],
  },
];

const ioOfRun = (): RunData['io'] => [
  {
    machine: 'vm',
    disk: 'd',
    op: 'write',
    seq: 1,
    invokedUnixNano: nano(1),
    completedUnixNano: nano(2),
    ok: true,
    reason: '',
  },
];

/**
 * A vault disables a key (trace 1), a set notices it over a link (trace 2), and a machine stops by a call below that. At the same
 * time, an unrelated machine starts. Edges: key → set by a link, set → machine by parents, and two events of the machine in one commit.
 */
export const testRun = (): RunData => {
  const traces = tracesOfRun();
  const events = eventsOfRun();
  const edges = edgesOf(events, traces);
  return {
    ...{ traces, events, edges },
    facts: factsOfRun(),
    metrics: [],
    logs: logsOfRun(),
    faults: faultsOf([{ ...step, traceId: hex(1, 32), keyVersions: [KEY_VERSION] }], { events, edges }),
    exports: exportsOf(traces, []),
    corruption: [],
    io: ioOfRun(),
    experiment: 'title: A test\n',
  };
};
