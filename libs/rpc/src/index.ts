export { type ActionPatterns, holdsAction } from './action-patterns.ts';
export type { Refusal } from './admission.ts';
export {
  type ActionRule,
  type AuthenticatedRule,
  type Authorization,
  type AuthorizationRow,
  describeAuthorization,
  type PublicRule,
  type Rule,
  requireActive,
  requirePermission,
  type StreamRule,
  type Workload,
  type WorkloadRule,
} from './authorization.ts';
export {
  type Authorizer,
  type CachingAuthorizer,
  type CachingAuthorizerOptions,
  cachingAuthorizer,
  covers,
  type Decision,
} from './authorizer.ts';
export {
  type ItemOrigin,
  type ItemOutcome,
  type ItemRefusal,
  isUnavailable,
  itemError,
  itemRefusal,
  onBehalfOf,
  type Settled,
  settleItems,
  settleTogether,
} from './batch-item.ts';
export { type BatchItem, type Batching, type BatchOutcome, openBatching, type SendBatch } from './batching.ts';
export {
  type Call,
  type Caller,
  CallMetadata,
  currentCall,
  outsideOfCalls,
  type Principal,
  principalOf,
  resumption,
  runAsCall,
  tokenMissing,
} from './call.ts';
export { type CertificateFiles, type Certificates, openAuthorities, openCertificates } from './certificates.ts';
export { type Channel, type ChannelSettings, openChannel } from './channel.ts';
export { type ConnectOptions, connect, type RpcClient } from './client.ts';
export { clientAddressOf, stateClientAddress } from './client-address.ts';
export { type CallOptions, PATIENT_RETRY, type RetryPolicy } from './client-pipeline.ts';
export type { ClientTls, ServerTls } from './credentials.ts';
export { diskSizeGibMax } from './disk-size.ts';
export {
  DETAILS_TRAILER,
  ERROR_DOMAIN,
  isInternal,
  RETRY_AFTER_MS,
  toWire,
} from './errors.ts';
export { healthProbe } from './health.ts';
export { type ErrorFacts, helpFor, helpInGeneral, reasonsWithHelp, roleWith } from './help.ts';
export { type InProcessOptions, type InProcessServer, type Link, serveInProcess } from './in-process.ts';
export type { CallTransport } from './in-process-client.ts';
export { CONTROL_MESSAGE_BYTES_MAX, DATA_MESSAGE_BYTES_MAX } from './message-size.ts';
export { expectedVersion, pageOf, pageToken } from './paging.ts';
export { passingOn } from './passing-on.ts';
export { isSameRegion, regionOf } from './region.ts';
export { checkId, idRule, names, type ResourceName, resourceName, subscriptionOf } from './resource-name.ts';
export { RpcFailure, type StatusName } from './rpc-failure.ts';
export {
  type RunningServer,
  type ServerOptions,
  startServer,
} from './server.ts';
export { CALL_MAX_MS, type PipelineOptions } from './server-pipeline.ts';
export {
  type BoundService,
  type Definition,
  type Handler,
  type Implementation,
  type Method,
  service,
} from './service.ts';
export { sharedBytes } from './shared-bytes.ts';
export { simulatedTokens } from './simulated-tokens.ts';
export { type NewSigningKey, rs256, type SignToken, type TokenFormat } from './token-format.ts';
export { type IssuedToken, type TokenSource, type TokenSourceOptions, tokenSource } from './token-source.ts';
export { type Authenticate, type KeySource, type TokenVerifierOptions, tokenVerifier } from './tokens.ts';
