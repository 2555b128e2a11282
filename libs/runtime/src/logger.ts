import { type Attributes, logs, SeverityNumber, trace } from '@opentelemetry/api';
import type { Clock } from './clock.ts';
import { errorChain } from './error-chain.ts';
import { SCHEMA_URL, SCOPE_VERSION } from './instrumentation-scope.ts';
import { type LogLines, standardError } from './log-lines.ts';

/** Fields of a log line. */
export type LogFields = Readonly<Record<string, unknown>>;

/**
 * Structured log: one JSON object for each line, `{time, level, service, event, trace, span, …fields}`. `event` is a short fixed text
 * and the fields have the variable parts, so that logs can be counted and searched. A field `error` is printed with its whole chain
 * of causes. If log records are exported over OTLP, each line is a record with the same fields as attributes.
 */
export interface Logger {
  info(event: string, fields?: LogFields): void;
  warn(event: string, fields?: LogFields): void;
  error(event: string, fields?: LogFields): void;
  /** A logger that adds these fields to every line. */
  with(fields: LogFields): Logger;
}

export interface LoggerOptions {
  readonly service: string;
  readonly clock: Pick<Clock, 'now'>;
  /** Writes one line, given without its line end. Default: standard error. */
  readonly write?: (line: string) => void;
}

/**
 * Creates the log of a service.
 *
 * Not a library, because the time comes from the injected clock, and a line must be written before a crash ends the process. That
 * excludes the buffering of log libraries.
 */
export function logger({ service, clock, write = writerTo(service, clock) }: LoggerOptions): Logger {
  const make = (bound: LogFields): Logger => {
    const log =
      (level: keyof typeof severities) =>
      (event: string, fields: LogFields = {}) => {
        const running = trace.getActiveSpan()?.spanContext();
        const now = clock.now();
        const line = {
          time: new Date(now).toISOString(),
          level,
          service,
          event,
          ...(running === undefined ? {} : { trace: running.traceId, span: running.spanId }),
          ...bound,
          ...fields,
        };
        const text = JSON.stringify(line, printable());
        write(text);
        exportRecord(level, now, text);
      };
    return {
      info: log('info'),
      warn: log('warn'),
      error: log('error'),
      with: (fields) => make({ ...bound, ...fields }),
    };
  };
  return make({});
}

const severities = { info: SeverityNumber.INFO, warn: SeverityNumber.WARN, error: SeverityNumber.ERROR } as const;

/** Fields of a line that an exported record has in another place. */
const ownFields = new Set(['time', 'level', 'service', 'event', 'trace', 'span']);

/** Exports a line as a log record of the running span, if the process exports logs. @param text the printed line, without secrets */
function exportRecord(level: keyof typeof severities, now: number, text: string): void {
  const exporter = logs.getLogger('interlock', SCOPE_VERSION, { schemaUrl: SCHEMA_URL });
  const severityNumber = severities[level];
  if (!exporter.enabled({ severityNumber })) return;
  const line: Record<string, unknown> = JSON.parse(text);
  const attributes: Attributes = Object.fromEntries(
    Object.entries(line)
      .filter(([key]) => !ownFields.has(key))
      .map(([key, value]) => [key, isObject(value) || value === null ? JSON.stringify(value) : (value as string)]),
  );
  const body = String(line.event);
  exporter.emit({ timestamp: now, severityNumber, severityText: level.toUpperCase(), body, attributes });
}

/** A field with such a name is never printed. */
const SECRET_NAME = /(secret|password|passphrase|token|privatekey|plaintext|dek)$/i;

/** A JSON replacer for one line: hides secrets and bytes, prints errors with causes, cuts cycles, and never throws. */
function printable(): (this: unknown, key: string, value: unknown) => unknown {
  const ancestors: unknown[] = [];
  return function (key, value) {
    if (value !== undefined && SECRET_NAME.test(key)) return '‹hidden›';
    // JSON turns a Buffer into an array before the replacer sees it, so use the property of the holder.
    const own = isObject(this) ? Reflect.get(this, key) : value;
    if (ArrayBuffer.isView(own)) return `‹${own.byteLength} bytes›`;
    if (own instanceof Error) return errorChain(own);
    if (typeof value === 'bigint') return value.toString();
    if (!isObject(value)) return value;
    while (ancestors.length > 0 && ancestors.at(-1) !== this) ancestors.pop();
    if (ancestors.includes(value)) return '‹cycle›';
    ancestors.push(value);
    return value;
  };
}

const isObject = (value: unknown): value is object => typeof value === 'object' && value !== null;

/** One for the process: all loggers share the file, and a cut line in it. */
let own: LogLines | undefined;

const writerTo = (service: string, clock: LoggerOptions['clock']): ((line: string) => void) => {
  own ??= standardError();
  const lines = own;
  const lossLine = (count: number): string => {
    const event = 'log lines were lost: no space left for the log';
    return JSON.stringify({ time: new Date(clock.now()).toISOString(), level: 'warn', service, event, count });
  };
  return (line) => lines.write(line, lossLine);
};
