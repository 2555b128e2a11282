/** What a vault granted: use of a key, to one identity, as of a position in its feed. */
export interface Grant {
  /** Every loss up to this position of key-vault's feed was known when the vault granted. */
  readonly accessEpoch: number;
  /** `principals/<uuid>`: the identity that called; absent before the first grant. */
  readonly principal?: string | undefined;
}

/** What took access away. */
export interface Loss {
  /** Position of the loss in key-vault's feed. */
  readonly accessEpoch: number;
  /** `principals/<uuid>`: the identity that was deleted; absent for every other loss. */
  readonly principal?: string | undefined;
}

/**
 * Whether a loss takes away what a grant gave, however late it arrives. A grant of a lower position is older than the loss.
 * A deleted identity never exists again, so its end concerns every grant to it and none to another identity.
 */
export const concerns = (loss: Loss, grant: Grant): boolean =>
  loss.principal === undefined ? grant.accessEpoch < loss.accessEpoch : isSameIdentity(loss, grant);

/** Whether both may be about one identity: an identity that is not known can be any. */
export const isSameIdentity = (one: { readonly principal?: string | undefined }, other: typeof one): boolean =>
  one.principal === undefined || other.principal === undefined || one.principal === other.principal;
