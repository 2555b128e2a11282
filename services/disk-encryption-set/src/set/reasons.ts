/**
 * Why a key version cannot be used, in the order of precedence: where several apply, the first is told. The texts are
 * those of `interlock.access.v1.KeyAccessReason`. An unreachable or throttling vault is not among them: it has decided
 * nothing.
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

/** A definite reason. */
export type LossReason = (typeof lossReasons)[number];

/** The reason of that name; `undefined` for a name that is no definite reason of ours. */
export const lossReasonNamed = (name: string): LossReason | undefined => lossReasons.find((reason) => reason === name);

/** Which of two reasons to tell when both apply. A purge is told before everything: nothing cures it. */
export const moreTelling = (one: LossReason, other: LossReason): LossReason => {
  if (one === 'KEY_PURGED' || other === 'KEY_PURGED') return 'KEY_PURGED';
  return lossReasons.indexOf(one) <= lossReasons.indexOf(other) ? one : other;
};

/**
 * Epoch of a loss that no later answer can undo: a deleted identity never comes back (CMK-39), and its end has no
 * position in key-vault's feed to compare with.
 */
export const FINAL_EPOCH = Number.MAX_SAFE_INTEGER;
