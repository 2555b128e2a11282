export type { Bus, Delivery, Interest, Tailed } from './bus.ts';
export type { BusFaults } from './bus-faults.ts';
export { type Consumer, startConsumer } from './consumer.ts';
export type { ConsumerOptions, ReadFeed } from './consumer-options.ts';
export { encoder } from './encoding.ts';
export { type PublishedFact, type ToFact, unknownEvent } from './facts.ts';
export { type FollowerOptions, type Following, type IsStored, startFollower } from './follower.ts';
export { type Effect, type FactContext, type Handler, type Handlers, NO_EFFECT } from './handlers.ts';
export { type MemoryBus, memoryBus } from './memory-bus.ts';
export { type MessagingApi, type MessagingApiOptions, messagingApi } from './messaging-api.ts';
export { meterMessaging } from './messaging-metrics.ts';
export { type NatsBus, type NatsBusOptions, natsBus } from './nats-bus.ts';
export type { NatsAccess } from './nats-connection.ts';
export type { PartitionStatus } from './partition.ts';
export { type Relay, type RelayOptions, startRelay } from './relay.ts';
export { natsSpec, streamsSpec } from './settings.ts';
export type { StreamState } from './stream-watch.ts';
export {
  deleteStreams,
  ensureStreams,
  STREAM_AGE_MAX_DEFAULT_MS,
  STREAM_BYTES_MAX_DEFAULT,
  type StreamSettings,
  streamNameIn,
  subjectNameIn,
} from './streams.ts';
export { DEFAULT_PARTITION_COUNT, durableOf, fnv1a32, partitionOf, streamOf, subjectOf } from './subjects.ts';
