/**
 * Access epoch of a loss that ends every grant, however late it was given: the end of an identity. It is above every position of
 * key-vault's feed. A deleted identity never exists again (CMK-39), and its end has no position there.
 */
export const FINAL_EPOCH = Number.MAX_SAFE_INTEGER;

/** A vault's grant: one identity may use a key, as of a position in the feed of key-vault. */
export interface Grant {
  /** Position of key-vault's feed: the grant takes every loss up to it into account. */
  readonly accessEpoch: number;
  /** `principals/<uuid>`: the identity that called; absent before the first grant. */
  readonly principal?: string | undefined;
}

/** A loss of access. */
export interface Loss {
  /** Position of the loss in key-vault's feed. */
  readonly accessEpoch: number;
  /** `principals/<uuid>`: the identity that was deleted; absent for every other loss. */
  readonly principal?: string | undefined;
}

/**
 * Whether a loss ends a grant, however late the loss arrives. A grant with a lower position is older than the loss. A deleted
 * identity never exists again, so its deletion concerns every grant to it, and none to another identity.
 */
export const concerns = (loss: Loss, grant: Grant): boolean =>
  loss.principal === undefined ? grant.accessEpoch < loss.accessEpoch : isSameIdentity(loss, grant);

/** Whether both may concern the same identity: an unknown identity may be any. */
export const isSameIdentity = (one: { readonly principal?: string | undefined }, other: typeof one): boolean =>
  one.principal === undefined || other.principal === undefined || one.principal === other.principal;
