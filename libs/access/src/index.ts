export { messageOf, type UnusableKey } from './messages.ts';
export { concerns, type Grant, isSameIdentity, type Loss } from './order.ts';
export {
  type AccessReason,
  accessReasonOf,
  accessReasons,
  isAboutIdentity,
  isOutage,
  type LossReason,
  lossReasonOf,
  lossReasons,
  type OutageReason,
  precedingReason,
  statusOf,
} from './reasons.ts';
export { lossReasonIn, type RefusalFacts, refusalFacts, refusalMetadata } from './refusals.ts';
