import { headerGetter } from '@interlock/otel-jetstream';
import { type Clock, failureLog, type Logger } from '@interlock/runtime';
import type { NatsConnection } from '@nats-io/transport-node';
import { propagation, ROOT_CONTEXT } from '@opentelemetry/api';
import type { Tailed } from './bus.ts';
import { TailQueue } from './tail-queue.ts';

/** Pause before a subscription that the server refused is opened again. */
const RESUBSCRIBE_MS = 1_000;

/**
 * The messages of a subject as they are published, by a subscription of core NATS: no consumer and no acknowledgement on the server.
 * The client repeats the subscription after a reconnect. One that the server refuses is opened again until it is permitted.
 * @param subject with the namespace
 */
export const natsTail = (
  connection: NatsConnection,
  subject: string,
  { clock, log, signal }: { readonly clock: Clock; readonly log: Logger | undefined; readonly signal: AbortSignal },
): AsyncIterable<Tailed> => {
  const queue = new TailQueue(signal);
  const attempts =
    log && failureLog({ log, clock, failing: 'subscription is opened again', back: 'subscription is back' });
  const open = (): void => {
    if (signal.aborted || connection.isClosed()) return;
    const subscription = connection.subscribe(subject, {
      callback: (error, message) => {
        if (error === null) {
          attempts?.succeeded();
          queue.push({
            bytes: message.data,
            context: propagation.extract(ROOT_CONTEXT, message.headers, headerGetter),
          });
          return;
        }
        attempts?.failed(error, { subject });
        end();
        if (!signal.aborted) clock.alarm(RESUBSCRIBE_MS, open);
      },
    });
    const end = (): void => {
      signal.removeEventListener('abort', end);
      if (!subscription.isClosed() && !connection.isClosed()) subscription.unsubscribe();
    };
    signal.addEventListener('abort', end);
  };
  open();
  void connection.closed().then(() => queue.end());
  return queue;
};
