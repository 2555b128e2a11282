import type { Attributes } from '@opentelemetry/api';
import { DURATION_BOUNDS_S, MessagingAttribute, MessagingMetric, type OperationType } from './conventions.ts';
import type { Resolved } from './options.ts';

/** Records the metrics of one operation. */
export interface Measures {
  /**
   * Notes an operation that ended.
   * @param startedMs when it started, by the clock of the options @param messages how many it concerned @param error type of its error
   */
  ended(type: OperationType, attributes: Attributes, startedMs: number, messages: number, error?: string): void;
}

/** Creates the instruments. */
export const openMeasures = ({ meter, nowMs }: Resolved): Measures => {
  const advice = { explicitBucketBoundaries: DURATION_BOUNDS_S };
  const operations = meter.createHistogram(MessagingMetric.operationDuration, {
    unit: 's',
    description: 'Duration of an operation that the client started',
    advice,
  });
  const processing = meter.createHistogram(MessagingMetric.processDuration, {
    unit: 's',
    description: 'Duration of processing',
    advice,
  });
  const sent = meter.createCounter(MessagingMetric.sent, {
    unit: '{message}',
    description: 'Messages that the client tried to send',
  });
  const consumed = meter.createCounter(MessagingMetric.consumed, {
    unit: '{message}',
    description: 'Messages that were delivered to the application',
  });
  return {
    ended(type, attributes, startedMs, messages, error) {
      const of = error === undefined ? attributes : { ...attributes, [MessagingAttribute.errorType]: error };
      const durationS = (nowMs() - startedMs) / 1_000;
      if (type === 'process') processing.record(durationS, of);
      else operations.record(durationS, of);
      if (type === 'send') sent.add(messages, of);
      // Counted once for each delivery: each received message is processed.
      if (type === 'process') consumed.add(messages, of);
    },
  };
};
