import { type LogsRequest, serviceOf, textOf } from '../format/otlp.ts';

/** A log record with its service. */
export interface LogLine {
  readonly service: string;
  readonly timeUnixNano: string;
  readonly severity: string;
  readonly text: string;
  readonly traceId: string;
  readonly spanId: string;
}

/** All log records, in their order. */
export const logLines = (requests: readonly LogsRequest[]): readonly LogLine[] =>
  requests.flatMap(({ resourceLogs = [] }) =>
    resourceLogs.flatMap(({ resource, scopeLogs = [] }) => {
      const service = serviceOf(resource);
      return scopeLogs.flatMap(({ logRecords = [] }) =>
        logRecords.map(({ timeUnixNano, severityText = '', body, traceId = '', spanId = '' }) => ({
          service,
          timeUnixNano,
          severity: severityText,
          text: textOf(body),
          traceId,
          spanId,
        })),
      );
    }),
  );
