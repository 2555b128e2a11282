import type { EventStore } from '@interlock/event-store';
import type { Clock } from '@interlock/runtime';
import type { BatchObservableResult, Meter } from '@opentelemetry/api';
import type { Bus } from './bus.ts';
import type { Consumer } from './consumer.ts';
import { parkedFacts } from './parked.ts';
import { RELAY_CURSOR } from './published-progress.ts';
import type { Relay } from './relay.ts';

/** Attribute with the source of the facts, as in OpenTelemetry's conventions for messaging. */
const SOURCE = 'messaging.destination.name';

/**
 * Exports the lag of a service: of its consumers (`interlock.feed.*`, one value for each source) and of its relay
 * (`interlock.relay.*`). The values are read at each export.
 * @returns stops the export
 */
export const meterMessaging = (parts: {
  readonly meter: Meter;
  readonly store: EventStore;
  readonly clock: Pick<Clock, 'now'>;
  readonly consumers: readonly Pick<Consumer, 'source' | 'status' | 'refused'>[];
  readonly relay: Pick<Relay, 'position' | 'outage'>;
  readonly bus?: Pick<Bus, 'stream'>;
}): (() => void) => {
  const { meter, store, clock, consumers, relay, bus } = parts;
  const gauge = (name: string, unit: string, description: string) =>
    meter.createObservableGauge(name, { unit, description });
  const gap = gauge('interlock.feed.gap', '{fact}', 'Facts known to exist and not yet applied: at least this many');
  const lag = gauge('interlock.feed.lag', 's', 'How long the oldest of these facts has waited to be applied');
  const parked = gauge(
    'interlock.feed.parked',
    '{fact}',
    'Facts that no retry can apply, and later facts of their streams',
  );
  const refused = meter.createObservableCounter('interlock.feed.refused', {
    unit: '{message}',
    description: 'Messages that their source cannot have published: refused and never applied',
  });
  const unpublished = gauge('interlock.relay.gap', '{event}', 'Events stored and not yet published');
  const outage = gauge('interlock.relay.outage', 's', 'How long the relay could not publish; 0 while it publishes');
  const copies = gauge('interlock.stream.copies', '{copy}', 'Copies of the stream of this service that are up to date');
  const copiesWanted = gauge('interlock.stream.copies_wanted', '{copy}', 'Copies that the stream should have');
  const instruments = [gap, lag, parked, refused, unpublished, outage, copies, copiesWanted];
  const parkedOf = parkedFacts(store);

  const observeSource = async (result: BatchObservableResult, consumer: (typeof consumers)[number]) => {
    const { source } = consumer;
    const partitions = consumer.status();
    const of = { [SOURCE]: source };
    const counts = await Promise.all(
      partitions.map(async ({ partition }) => (await parkedOf.ofPartition(source, partition)).count),
    );
    result.observe(gap, sum(partitions.map((one) => one.gap)), of);
    result.observe(lag, Math.max(0, ...partitions.map(({ lagMs }) => lagMs)) / 1_000, of);
    result.observe(parked, sum(counts), of);
    result.observe(refused, consumer.refused(), of);
  };
  const observeStream = (result: BatchObservableResult): void => {
    const stream = bus?.stream?.();
    if (stream === undefined) return;
    result.observe(copies, stream.copies);
    result.observe(copiesWanted, stream.copiesWanted);
  };
  const observe = async (result: BatchObservableResult): Promise<void> => {
    const observeOutage = (isStoreAvailable: boolean): void => {
      const since = relay.outage(isStoreAvailable)?.since;
      result.observe(outage, since === undefined ? 0 : Math.max(0, clock.now() - since) / 1_000);
    };
    const [head, stored] = await Promise.all([store.head(), store.cursor(RELAY_CURSOR)]).catch((error: unknown) => {
      observeOutage(false);
      observeStream(result);
      throw error;
    });
    observeOutage(true);
    observeStream(result);
    // A relay that has not started yet knows less than the one before it.
    result.observe(unpublished, Math.max(0, head - Math.max(relay.position(), stored)));
    await Promise.all(consumers.map((consumer) => observeSource(result, consumer)));
  };
  meter.addBatchObservableCallback(observe, instruments);
  return () => meter.removeBatchObservableCallback(observe, instruments);
};

const sum = (numbers: readonly number[]): number => numbers.reduce((total, one) => total + one, 0);
