/**
 * Why a key cannot be used, decided by its owner or by identity, in the order of precedence: if several apply, the first is
 * shown. The names are those of `interlock.access.v1.KeyAccessReason`.
 */
export const lossReasons = [
  'KEY_DISABLED',
  'KEY_NOT_YET_VALID',
  'KEY_EXPIRED',
  'KEY_DELETED',
  'KEY_PURGED',
  'KEY_VERSION_NOT_FOUND',
  'VAULT_DELETED',
  'ACCESS_DENIED',
  'IDENTITY_DELETED',
] as const;

/** A reason that ends access. */
export type LossReason = (typeof lossReasons)[number];

/** The vault did not decide: it is unreachable, or had too many requests. Both are temporary. */
export const outageReasons = ['KEY_VAULT_UNREACHABLE', 'THROTTLED'] as const;

/** A reason that does not end access. */
export type OutageReason = (typeof outageReasons)[number];

/** Every reason, in the order of precedence. */
export const accessReasons = [...lossReasons, ...outageReasons] as const;

/** Why a key cannot be used, for whatever cause. */
export type AccessReason = LossReason | OutageReason;

/** The loss reason of that name; `undefined` for any other name. */
export const lossReasonOf = (name: string): LossReason | undefined => lossReasons.find((reason) => reason === name);

/** The reason of that name, outages included; `undefined` for any other name. */
export const accessReasonOf = (name: string): AccessReason | undefined =>
  accessReasons.find((reason) => reason === name);

/** Whether the vault did not decide. */
export const isOutage = (reason: AccessReason): reason is OutageReason =>
  reason === 'KEY_VAULT_UNREACHABLE' || reason === 'THROTTLED';

/** Whether the reason concerns only the calling identity; the others concern the key. */
export const isAboutIdentity = (reason: AccessReason): boolean =>
  reason === 'ACCESS_DENIED' || reason === 'IDENTITY_DELETED';

/** Which of two reasons to show if both apply. A purge precedes every other reason, because it is final. */
export const precedingReason = (one: LossReason, other: LossReason): LossReason => {
  if (one === 'KEY_PURGED' || other === 'KEY_PURGED') return 'KEY_PURGED';
  return lossReasons.indexOf(one) <= lossReasons.indexOf(other) ? one : other;
};

/** The gRPC status of a call that is refused for the reason. */
export const statusOf = (reason: AccessReason): 'PERMISSION_DENIED' | 'UNAVAILABLE' | 'FAILED_PRECONDITION' => {
  if (reason === 'ACCESS_DENIED') return 'PERMISSION_DENIED';
  return isOutage(reason) ? 'UNAVAILABLE' : 'FAILED_PRECONDITION';
};
