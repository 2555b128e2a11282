export { DomainAttribute } from './attributes.ts';
export { addParts, causeLinks, type SpanCause, type SpanPart } from './cause-links.ts';
export { certificateProblem } from './certificate-problem.ts';
export { type Alarm, type Clock, type Instant, sleepBy, systemClock } from './clock.ts';
export {
  ConfigError,
  type ConfigOf,
  type ConfigProblem,
  type ConfigSpec,
  describeConfig,
  type Reader,
  type Reading,
  readConfig,
  variableOf,
} from './config.ts';
export {
  bool,
  type Defaulted,
  int,
  oneOf,
  optional,
  renewedFile,
  secret,
  secretFile,
  text,
  url,
  urls,
} from './config-readers.ts';
export { DURATION_BUCKETS_S } from './duration-buckets.ts';
export { type ErrorLink, errorChain } from './error-chain.ts';
export { type FailureLog, failureLog, type Outage } from './failure-log.ts';
export { SCHEMA_URL, SCOPE_VERSION, scopeTracer } from './instrumentation-scope.ts';
export {
  ageMs,
  type ClockReading,
  leftMs,
  readingOf,
  usableMs,
  usableUntil,
  waitedOutMs,
} from './lease-time.ts';
export { type LogFields, type Logger, type LoggerOptions, logger } from './logger.ts';
export { type KeyedMutex, keyedMutex, type SerialQueue, serialQueue, withKeys } from './mutex.ts';
export { oncePerTurn } from './once-per-turn.ts';
export { type Random, systemRandom } from './random.ts';
export { type Renewable, type Renewed, renewable } from './renewed.ts';
export { type RenewedFiles, type RenewedFilesOptions, renewedFiles } from './renewed-files.ts';
export { ExitCode, type RunOptions, runService, runSpec, type Startup } from './run.ts';
export { createScope, type Scope, ScopeError } from './scope.ts';
export { type SeededRandom, seededRandom } from './seeded-random.ts';
export { isSpaceError } from './space-error.ts';
export type { Telemetry, TelemetryOptions } from './telemetry.ts';
export { telemetrySpec } from './telemetry-settings.ts';
export { type Rate, rateOf, tokenBuckets } from './token-buckets.ts';
export {
  baggageOf,
  contextFromTraceparent,
  contextOfWork,
  currentTraceparent,
  failSpan,
  inSpan,
  linkRunningSpan,
  linkTo,
  openSpan,
  type Propagated,
  runningPropagated,
  type SharedSpanOptions,
  type SharedSpans,
  type SpanOptions,
  sharedSpans,
  traceIdOf,
  traceparentOf,
  withBaggage,
} from './tracing.ts';
export {
  isInFolder,
  pathInFolder,
  pathPart,
  readUserFile,
  USER_FILE_BYTES_MAX,
  UserFileError,
} from './user-file.ts';
export { type VirtualClock, virtualClock } from './virtual-clock.ts';
export { visible, visibleInLine } from './visible-text.ts';
