export { headerGetter, headerSetter } from './carrier.ts';
export { MessagingAttribute, MessagingMetric, SCHEMA_URL } from './conventions.ts';
export { type InstrumentedJetStream, type InstrumentOptions, instrumentJetStream } from './instrument.ts';
export type { ConnectionFacts, JetStreamTracingOptions } from './options.ts';
export { contextOf, processMessage } from './received-message.ts';
export {
  commonParent,
  type JetStreamTracing,
  jetStreamTracing,
  LINKS_MAX,
  linksTo,
  type OpenOperation,
  type Published,
  type Received,
} from './tracing.ts';
