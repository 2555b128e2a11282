import { type Attributes, type Counter, createNoopMeter, type Meter, type MeterProvider } from '@opentelemetry/api';
import { ATTR_ERROR_TYPE } from '@opentelemetry/semantic-conventions';
import type { Clock } from './clock.ts';
import type { Logger } from './logger.ts';

/** Telemetry that a process lost since its start. */
export interface LostTelemetry {
  /** Spans that found the queue full. */
  readonly spansDropped: number;
  /** Spans of exports that failed, with their repetitions. */
  readonly spansFailed: number;
  /** The same for log records. */
  readonly logRecordsDropped: number;
  readonly logRecordsFailed: number;
  /** The type of the newest error; `queue_full` if nothing was sent. */
  readonly why: string;
}

type Count = Exclude<keyof LostTelemetry, 'why'>;

/** The type of error with which the SDK counts what found a queue full. */
const QUEUE_FULL = 'queue_full';

/** What the SDK counts (OpenTelemetry: SDK metrics): a queue only counts here what it drops, because it counts failed exports too. */
const countOf = (counter: string, errorType: string): Count | undefined => {
  if (counter === 'otel.sdk.exporter.span.exported') return 'spansFailed';
  if (counter === 'otel.sdk.exporter.log.exported') return 'logRecordsFailed';
  if (errorType !== QUEUE_FULL) return undefined;
  if (counter === 'otel.sdk.processor.span.processed') return 'spansDropped';
  return counter === 'otel.sdk.processor.log.processed' ? 'logRecordsDropped' : undefined;
};

/**
 * A provider for the SDK's counts of itself, which also reports each loss. The counts reach `provider`, if there is one: a process
 * without a destination of metrics reports its losses as well.
 * @param onLost called at each loss, with all losses so far
 */
export const notingLosses = (
  provider: MeterProvider | undefined,
  onLost: (lost: LostTelemetry) => void,
): MeterProvider => {
  let lost: LostTelemetry = { spansDropped: 0, spansFailed: 0, logRecordsDropped: 0, logRecordsFailed: 0, why: '' };
  const noted = (name: string, counter: Counter): Counter => ({
    add(value: number, attributes?: Attributes) {
      counter.add(value, attributes);
      const why = attributes?.[ATTR_ERROR_TYPE];
      const count = why === undefined ? undefined : countOf(name, String(why));
      if (count === undefined || value <= 0) return;
      lost = { ...lost, [count]: lost[count] + value, why: String(why) };
      onLost(lost);
    },
  });
  return {
    getMeter(name, version, options): Meter {
      const meter = provider?.getMeter(name, version, options) ?? createNoopMeter();
      return Object.assign(Object.create(meter) as Meter, {
        createCounter: (...given: Parameters<Meter['createCounter']>) => noted(given[0], meter.createCounter(...given)),
      });
    },
  };
};

/** Lost telemetry is logged at once, and then once in this time, in milliseconds. */
const REPEAT_MS = 60_000;

/** Logs losses, with all losses so far: the first at once, later ones once a minute, and at the end what was not logged. */
export interface LossLog {
  note(lost: LostTelemetry): void;
  end(): void;
}

/** @param parts.clock decides when a minute is over */
export const lossLog = (parts: {
  readonly log: Pick<Logger, 'warn'>;
  readonly clock: Pick<Clock, 'monotonicMs'>;
}): LossLog => {
  const { log, clock } = parts;
  let loggedAtMs = Number.NEGATIVE_INFINITY;
  let waiting: LostTelemetry | undefined;
  const end = (): void => {
    if (waiting !== undefined) log.warn('telemetry was lost', { ...waiting });
    waiting = undefined;
  };
  return {
    note(lost) {
      waiting = lost;
      const nowMs = clock.monotonicMs();
      if (nowMs - loggedAtMs < REPEAT_MS) return;
      loggedAtMs = nowMs;
      end();
    },
    end,
  };
};
