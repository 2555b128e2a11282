import { logs, type MeterProvider } from '@opentelemetry/api';
import type { Resource } from '@opentelemetry/resources';
import {
  BatchLogRecordProcessor,
  ConsoleLogRecordExporter,
  LoggerProvider,
  type LogRecordProcessor,
  SimpleLogRecordProcessor,
} from '@opentelemetry/sdk-logs';
import { logExporter } from './exporters.ts';
import type { OpenExports } from './open-exports.ts';
import type { OtlpProtocol } from './telemetry-settings.ts';

/** Destinations of log records, in addition to the lines on standard error. */
export interface LogsOptions {
  readonly resource: Resource;
  /** OTLP over HTTP; a full address. */
  readonly logsEndpoint?: string | undefined;
  readonly logsProtocol?: OtlpProtocol | undefined;
  /** Time after which an export over OTLP fails, in milliseconds. */
  readonly exportTimeoutMs?: number | undefined;
  /** Whether records are printed on standard output. */
  readonly logsOnConsole?: boolean;
  readonly batch?: { readonly delayMs: number; readonly queueSizeMax: number; readonly batchSizeMax: number };
  /** Counts records that were dropped or not exported. */
  readonly selfObsMeterProvider?: MeterProvider | undefined;
  /** Where exports that have not ended are counted. */
  readonly openExports: OpenExports;
  /** Further receivers of records. */
  readonly logProcessors?: readonly LogRecordProcessor[];
}

/** Log records of the process. */
export interface Logs {
  /** Exports waiting records. */
  flush(): Promise<void>;
  /** Exports waiting records and stops. */
  shutdown(): Promise<void>;
}

/** Starts the export of log records: each line of a `Logger`, with the trace and the span in which it was written. */
export const startLogs = (options: LogsOptions): Logs => {
  const processors = [...processorsOf(options), ...(options.logProcessors ?? [])];
  if (processors.length === 0) return { flush: async () => undefined, shutdown: async () => undefined };
  const provider = new LoggerProvider({ resource: options.resource, processors });
  logs.setGlobalLoggerProvider(provider);
  return {
    flush: () => provider.forceFlush(),
    async shutdown() {
      await provider.shutdown();
      logs.disable();
    },
  };
};

const processorsOf = (options: LogsOptions): readonly LogRecordProcessor[] => {
  const { logsEndpoint: url, logsProtocol: protocol, logsOnConsole = false, batch, selfObsMeterProvider } = options;
  const onConsole = logsOnConsole ? [new SimpleLogRecordProcessor({ exporter: new ConsoleLogRecordExporter() })] : [];
  if (url === undefined) return onConsole;
  const exporter = options.openExports.watched(
    logExporter({ url, protocol, timeoutMs: options.exportTimeoutMs }, selfObsMeterProvider),
  );
  const limits =
    batch === undefined
      ? {}
      : {
          scheduledDelayMillis: batch.delayMs,
          maxQueueSize: batch.queueSizeMax,
          maxExportBatchSize: batch.batchSizeMax,
        };
  const counted = selfObsMeterProvider === undefined ? {} : { selfObsMeterProvider };
  return [...onConsole, new BatchLogRecordProcessor({ exporter, ...limits, ...counted })];
};
