import { parquetWriteBuffer } from 'hyparquet-writer';
import { spansIn, textOf } from '../format/otlp.ts';
import type { RunData } from '../format/run-data.ts';
import { logLines } from './log-lines.ts';
import { metricPoints } from './metric-points.ts';

type Column =
  | { readonly name: string; readonly type: 'STRING'; readonly data: string[] }
  | { readonly name: string; readonly type: 'INT64'; readonly data: bigint[] }
  | { readonly name: string; readonly type: 'BOOLEAN'; readonly data: boolean[] }
  | { readonly name: string; readonly type: 'DOUBLE'; readonly data: number[] };

const texts = <Row>(rows: readonly Row[], name: string, of: (row: Row) => string): Column => ({
  name,
  type: 'STRING',
  data: rows.map(of),
});

const integers = <Row>(rows: readonly Row[], name: string, of: (row: Row) => string | number): Column => ({
  name,
  type: 'INT64',
  data: rows.map((row) => BigInt(of(row))),
});

const flags = <Row>(rows: readonly Row[], name: string, of: (row: Row) => boolean): Column => ({
  name,
  type: 'BOOLEAN',
  data: rows.map(of),
});

const table = (columnData: Column[]): Uint8Array => new Uint8Array(parquetWriteBuffer({ columnData }));

/** A Parquet file each for spans, links, logs, metrics, events, edges, faults and operations. Times are Unix nanoseconds. */
export const parquetTables = (data: RunData): ReadonlyMap<string, Uint8Array> =>
  new Map([...telemetryTables(data), ...truthTables(data)]);

type Tables = readonly (readonly [string, Uint8Array])[];

const telemetryTables = (data: RunData): Tables => {
  const spans = spansIn(data.traces);
  const links = spans.flatMap(({ traceId, spanId, links: all = [] }) =>
    all.map((link) => ({ traceId, spanId, linkedTraceId: link.traceId, linkedSpanId: link.spanId })),
  );
  const logs = logLines(data.logs);
  const metrics = metricPoints(data.metrics);
  const number: Column = { name: 'value', type: 'DOUBLE', data: metrics.map(({ value }) => value) };
  return [
    [
      'spans.parquet',
      table([
        ...(['traceId', 'spanId', 'service', 'name'] as const).map((key) =>
          texts(spans, snake(key), (span) => span[key]),
        ),
        texts(spans, 'parent_span_id', ({ parentSpanId = '' }) => parentSpanId),
        integers(spans, 'kind', ({ kind = 0 }) => kind),
        integers(spans, 'start_unix_nano', ({ startTimeUnixNano }) => startTimeUnixNano),
        integers(spans, 'end_unix_nano', ({ endTimeUnixNano }) => endTimeUnixNano),
        integers(spans, 'status_code', ({ status }) => status?.code ?? 0),
        texts(spans, 'attributes', ({ attributes = [] }) =>
          JSON.stringify(Object.fromEntries(attributes.map(({ key, value }) => [key, textOf(value)]))),
        ),
      ]),
    ],
    [
      'links.parquet',
      table(
        (['traceId', 'spanId', 'linkedTraceId', 'linkedSpanId'] as const).map((key) =>
          texts(links, snake(key), (link) => link[key]),
        ),
      ),
    ],
    [
      'logs.parquet',
      table([
        ...(['service', 'severity', 'text', 'traceId', 'spanId'] as const).map((key) =>
          texts(logs, snake(key), (line) => line[key]),
        ),
        integers(logs, 'time_unix_nano', ({ timeUnixNano }) => timeUnixNano),
      ]),
    ],
    [
      'metrics.parquet',
      table([
        texts(metrics, 'service', ({ service }) => service),
        texts(metrics, 'name', ({ name }) => name),
        integers(metrics, 'time_unix_nano', ({ timeUnixNano }) => timeUnixNano),
        number,
      ]),
    ],
  ];
};

const truthTables = ({ events, edges, faults, io }: RunData): Tables => [
  [
    'events.parquet',
    table([
      ...(['service', 'id', 'stream', 'type', 'correlationId', 'traceId', 'spanId', 'phase'] as const).map((key) =>
        texts(events, snake(key), (event) => event[key]),
      ),
      integers(events, 'position', ({ position }) => position),
      integers(events, 'time_unix_nano', ({ timeUnixNano }) => timeUnixNano),
    ]),
  ],
  [
    'edges.parquet',
    table([
      ...(['from', 'to', 'kind', 'carriedBy'] as const).map((key) => texts(edges, snake(key), (edge) => edge[key])),
      flags(edges, 'cross_service', ({ crossService }) => crossService),
    ]),
  ],
  [
    'faults.parquet',
    table([
      texts(faults, 'name', ({ name }) => name),
      texts(faults, 'action', ({ action }) => action),
      texts(faults, 'targets', ({ targets }) => targets.join(' ')),
      texts(faults, 'root_event', ({ rootEvent = '' }) => rootEvent),
      integers(faults, 'injected_unix_nano', ({ injectedUnixNano }) => injectedUnixNano),
    ]),
  ],
  [
    'io.parquet',
    table([
      ...(['machine', 'disk', 'op', 'reason'] as const).map((key) => texts(io, key, (one) => one[key])),
      integers(io, 'invoked_unix_nano', ({ invokedUnixNano }) => invokedUnixNano),
      integers(io, 'completed_unix_nano', ({ completedUnixNano }) => completedUnixNano),
      flags(io, 'ok', ({ ok }) => ok),
    ]),
  ],
];

const snake = (name: string): string => name.replace(/[A-Z]/g, (capital) => `_${capital.toLowerCase()}`);
