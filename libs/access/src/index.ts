export { messageOf, type UnusableKey } from './messages.ts';
export { concerns, FINAL_EPOCH, type Grant, isSameIdentity, type Loss } from './order.ts';
export {
  setOperations,
  setOperationsOnWire,
  setPermissionFlags,
  setPermissions,
  setPermissionsOnWire,
} from './permissions.ts';
export { publicCodes } from './public-codes.ts';
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
