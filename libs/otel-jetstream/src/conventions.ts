/** Attributes of OpenTelemetry's semantic conventions for messaging, version 1.45, and of the general ones that they require. */
export const MessagingAttribute = {
  system: 'messaging.system.name',
  operationName: 'messaging.operation.name',
  operationType: 'messaging.operation.type',
  /** The subject. */
  destination: 'messaging.destination.name',
  /** A subject with placeholders, of low cardinality. */
  destinationTemplate: 'messaging.destination.template',
  partition: 'messaging.destination.partition.id',
  /** The name of the JetStream consumer. */
  subscription: 'messaging.destination.subscription.name',
  consumerGroup: 'messaging.consumer.group.name',
  /** `Nats-Msg-Id`, where the publisher gave one. */
  messageId: 'messaging.message.id',
  bodySize: 'messaging.message.body.size',
  batchCount: 'messaging.batch.message_count',
  clientId: 'messaging.client.id',
  serverAddress: 'server.address',
  serverPort: 'server.port',
  errorType: 'error.type',
  /** No convention exists for these two: the stream, and how often the server has delivered the message. */
  stream: 'messaging.nats.stream',
  deliveryCount: 'messaging.nats.message.delivery_count',
} as const;

/** Attributes of version 1.24, which `OTEL_SEMCONV_STABILITY_OPT_IN=messaging/dup` adds to those of 1.45. */
export const FormerAttribute = {
  system: 'messaging.system',
  operation: 'messaging.operation',
  clientId: 'messaging.client_id',
} as const;

/** Names of the metrics, by the same conventions. */
export const MessagingMetric = {
  operationDuration: 'messaging.client.operation.duration',
  processDuration: 'messaging.process.duration',
  sent: 'messaging.client.sent.messages',
  consumed: 'messaging.client.consumed.messages',
} as const;

/** Bounds that the conventions give for the durations, in seconds. */
export const DURATION_BOUNDS_S = [0.005, 0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10];

/** Schema of the names above. */
export const SCHEMA_URL = 'https://opentelemetry.io/schemas/1.45.0';

/** The kinds of operations that the conventions distinguish. */
export type OperationType = 'send' | 'receive' | 'process' | 'settle';

/** What version 1.24 called them. */
export const formerOperations: Readonly<Record<OperationType, string>> = {
  send: 'publish',
  receive: 'receive',
  process: 'process',
  settle: 'settle',
};

/** Whether the variable `OTEL_SEMCONV_STABILITY_OPT_IN` requires the attributes of both versions. */
export const emitsBoth = (optIn: string | undefined): boolean =>
  (optIn ?? '').split(',').some((one) => one.trim() === 'messaging/dup');
