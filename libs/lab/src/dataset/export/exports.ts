import { pathPart } from '@interlock/runtime';
import { spanKinds } from '../../spans/span-store.ts';
import { type PlacedSpan, spansIn, textOf } from '../format/otlp.ts';
import type { RunData } from '../format/run-data.ts';
import { msOf, type TruthFault } from '../format/truth.ts';
import { csv } from './csv.ts';
import { type LinkView, viewed } from './link-view.ts';
import { logLines } from './log-lines.ts';
import { metricPoints } from './metric-points.ts';
import { parquetTables } from './parquet.ts';

/** Formats of an export. */
export const exportFormats = ['openrca', 'rcaeval', 'jaeger', 'parquet'] as const;

/** Files of an export, by their path. */
export type ExportedFiles = ReadonlyMap<string, string | Uint8Array>;

/** Renders a run in another format. */
export const exported = (data: RunData, format: (typeof exportFormats)[number], view: LinkView): ExportedFiles => {
  const shown = { ...data, traces: viewed(data.traces, view) };
  switch (format) {
    case 'openrca':
      return openRca(shown);
    case 'rcaeval':
      return rcaEval(shown);
    case 'jaeger':
      return new Map([['jaeger.json', `${JSON.stringify(jaeger(spansIn(shown.traces)))}\n`]]);
    case 'parquet':
      return parquetTables(shown);
  }
};

const micros = (nano: string): number => Number(BigInt(nano) / 1_000n);
const durationMicros = ({ startTimeUnixNano, endTimeUnixNano }: PlacedSpan): number =>
  micros(endTimeUnixNano) - micros(startTimeUnixNano);
const seconds = (nano: string): number => Math.floor(msOf(nano) / 1_000);

/** Faults that took effect and are no undo. */
const injections = (faults: readonly TruthFault[]): readonly TruthFault[] =>
  faults.filter(({ undoes }) => undoes === undefined);

/** Service that stored the root event of a fault; otherwise its first target. */
const componentOf = ({ events }: RunData, { rootEvent, targets }: TruthFault): string =>
  events.find(({ id }) => id === rootEvent)?.service ?? targets[0] ?? '';

/** The layout of OpenRCA: `telemetry/<date>/{trace,log,metric}/*.csv` and `record.csv` with the faults. */
const openRca = (data: RunData): ExportedFiles => {
  const folder = `telemetry/${pathPart(data.facts.startedAt.slice(0, 10)).replaceAll('-', '_')}`;
  return new Map([
    [`${folder}/trace/trace_span.csv`, openRcaSpans(data)],
    [
      `${folder}/log/log_service.csv`,
      csv(
        ['log_id', 'timestamp', 'cmdb_id', 'log_name', 'value'],
        logLines(data.logs).map(({ timeUnixNano, service, text }, index) => [
          index + 1,
          seconds(timeUnixNano),
          service,
          `log_${service}_service`,
          text,
        ]),
      ),
    ],
    [
      `${folder}/metric/metric_service.csv`,
      csv(
        ['timestamp', 'cmdb_id', 'kpi_name', 'value'],
        metricPoints(data.metrics).map((point) => [
          seconds(point.timeUnixNano),
          point.service,
          point.name,
          point.value,
        ]),
      ),
    ],
    ['record.csv', openRcaRecords(data)],
    ['query.csv', openRcaQueries(data)],
  ]);
};

const openRcaSpans = ({ traces }: RunData): string =>
  csv(
    ['timestamp', 'cmdb_id', 'parent_id', 'span_id', 'trace_id', 'duration', 'type', 'status_code', 'operation_name'],
    spansIn(traces).map((span) => [
      Math.floor(msOf(span.startTimeUnixNano)),
      span.service,
      span.parentSpanId ?? '',
      span.spanId,
      span.traceId,
      durationMicros(span),
      kindName(span),
      span.status?.code ?? 0,
      span.name,
    ]),
  );

const openRcaRecords = (data: RunData): string =>
  csv(
    ['level', 'component', 'timestamp', 'datetime', 'reason'],
    injections(data.faults).map((fault) => {
      const nano = fault.effectUnixNano ?? fault.injectedUnixNano;
      const time = new Date(msOf(nano)).toISOString().slice(0, 19).replace('T', ' ');
      return ['service', componentOf(data, fault), seconds(nano), time, fault.action];
    }),
  );

const dateTime = (nano: string): string => new Date(msOf(nano)).toISOString().slice(0, 19).replace('T', ' ');

/** One question for the whole run, of OpenRCA's most difficult kind (`task_7`): time, component and reason of each root cause. */
const openRcaQueries = (data: RunData): string => {
  const faults = injections(data.faults);
  const { startedAt, endedAt } = data.facts;
  const period = [startedAt, endedAt].map((time) => time.slice(0, 19).replace('T', ' ')).join(' to ');
  const count = faults.length === 1 ? 'one failure was' : `${faults.length} failures were`;
  const points = faults.flatMap((fault, index) => {
    const which = faults.length === 1 ? 'The only' : `The ${index + 1}-th`;
    const at = dateTime(fault.effectUnixNano ?? fault.injectedUnixNano);
    return [
      `${which} root cause occurrence time is within 1 minutes (i.e., <=1min) of ${at}`,
      `${which} predicted root cause component is ${componentOf(data, fault)}`,
      `${which} predicted root cause reason is ${fault.action}`,
    ];
  });
  const instruction = `From ${period} (UTC), ${count} detected in the system. The root cause component, the root cause reason and the exact time of the root cause occurrence are unknown. Identify all three for each failure.`;
  return csv(['task_index', 'instruction', 'scoring_points'], [['task_7', instruction, points.join('\n')]]);
};

/** The layout of RCAEval: a folder for each fault, with the telemetry and the time of injection in seconds. */
const rcaEval = (data: RunData): ExportedFiles => {
  const traces = csv(
    [
      'time',
      'traceID',
      'spanID',
      'serviceName',
      'methodName',
      'operationName',
      'startTimeMillis',
      'startTime',
      'duration',
      'statusCode',
      'parentSpanID',
    ],
    spansIn(data.traces).map((span) => [
      seconds(span.startTimeUnixNano),
      span.traceId,
      span.spanId,
      span.service,
      span.name,
      span.name,
      Math.floor(msOf(span.startTimeUnixNano)),
      micros(span.startTimeUnixNano),
      durationMicros(span),
      span.status?.code ?? 0,
      span.parentSpanId ?? '',
    ]),
  );
  const logs = csv(
    ['time', 'timestamp', 'container_name', 'message', 'level', 'trace_id', 'span_id'],
    logLines(data.logs).map((line) => [
      seconds(line.timeUnixNano),
      line.timeUnixNano,
      line.service,
      line.text,
      line.severity,
      line.traceId,
      line.spanId,
    ]),
  );
  const metrics = wideMetrics(data);
  return new Map(
    injections(data.faults).flatMap((fault, index) => {
      const folder = `${pathPart(componentOf(data, fault))}_${pathPart(fault.action)}/${index + 1}`;
      return [
        [`${folder}/traces.csv`, traces],
        [`${folder}/logs.csv`, logs],
        [`${folder}/metrics.csv`, metrics],
        [`${folder}/inject_time.txt`, `${seconds(fault.effectUnixNano ?? fault.injectedUnixNano)}\n`],
      ] as const;
    }),
  );
};

/** One row for each second and one column for each metric, `<service>_<metric>`. */
const wideMetrics = ({ metrics }: RunData): string => {
  const points = metricPoints(metrics).map((one) => ({
    ...one,
    column: `${one.service}_${one.name}`,
    second: seconds(one.timeUnixNano),
  }));
  const columns = [...new Set(points.map(({ column }) => column))].toSorted();
  const rows = [...Map.groupBy(points, ({ second }) => second)].toSorted(([a], [b]) => a - b);
  return csv(
    ['time', ...columns],
    rows.map(([second, all]) => {
      const values = new Map(all.map(({ column, value }) => [column, value]));
      return [second, ...columns.map((column) => values.get(column) ?? '')];
    }),
  );
};

const kindName = ({ kind = 0 }: PlacedSpan): string => spanKinds[kind] ?? 'unspecified';

/** The JSON of Jaeger's query API, which its page "Upload" reads. */
const jaeger = (spans: readonly PlacedSpan[]): object => ({
  data: [...Map.groupBy(spans, ({ traceId }) => traceId)].map(([traceID, all]) => {
    const services = [...new Set(all.map(({ service }) => service))];
    return {
      traceID,
      spans: all.map((span) => jaegerSpan(span, `p${services.indexOf(span.service) + 1}`)),
      processes: Object.fromEntries(services.map((serviceName, index) => [`p${index + 1}`, { serviceName, tags: [] }])),
    };
  }),
});

const jaegerSpan = (span: PlacedSpan, processID: string): object => ({
  traceID: span.traceId,
  spanID: span.spanId,
  operationName: span.name,
  references: [
    ...(span.parentSpanId ? [{ refType: 'CHILD_OF', traceID: span.traceId, spanID: span.parentSpanId }] : []),
    ...(span.links ?? []).map(({ traceId, spanId }) => ({ refType: 'FOLLOWS_FROM', traceID: traceId, spanID: spanId })),
  ],
  startTime: micros(span.startTimeUnixNano),
  duration: durationMicros(span),
  tags: [
    { key: 'span.kind', type: 'string', value: kindName(span) },
    ...(span.status?.code === 2 ? [{ key: 'error', type: 'bool', value: true }] : []),
    ...(span.attributes ?? []).map(({ key, value }) => ({ key, type: 'string', value: textOf(value) })),
  ],
  logs: (span.events ?? []).map(({ name, timeUnixNano }) => ({
    timestamp: micros(timeUnixNano),
    fields: [{ key: 'event', type: 'string', value: name }],
  })),
  processID,
});
