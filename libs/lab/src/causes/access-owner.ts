/** A permission or an operation, as experiment files name it. */
export type Choice = 'get' | 'wrap' | 'unwrap';

/**
 * The calls by which owners end and restore the access of one set to its key: those of the key, its vault, and the set's identity.
 * Each target implements them. `Done`: the result of a call. A restored state is the one before the cause.
 */
export interface AccessOwner<Done> {
  disableVersion(): Promise<Done>;
  enableVersion(): Promise<Done>;
  /** Every version of the key. */
  disableKey(): Promise<Done>;
  enableKey(): Promise<Done>;
  /** Sets an expiry date that has passed, or passes now. */
  expire(): Promise<Done>;
  /** Sets a start of validity in the future. */
  postpone(): Promise<Done>;
  restoreDates(): Promise<Done>;
  deleteKey(): Promise<Done>;
  recoverKey(): Promise<Done>;
  purgeKey(): Promise<Done>;
  deleteVault(): Promise<Done>;
  recoverVault(): Promise<Done>;
  /** Removes the access policy of the identity. */
  removePolicy(): Promise<Done>;
  removePermission(permission: Choice): Promise<Done>;
  restorePolicy(): Promise<Done>;
  removeRoles(): Promise<Done>;
  /** Does nothing if no role is missing. */
  restoreRoles(): Promise<Done>;
  /** The same after the vault was deleted: roles that will still be removed because of that do not count. */
  replaceRoles(): Promise<Done>;
  /** Takes an operation from the key version itself (KV-88). */
  removeOperation(operation: Choice): Promise<Done>;
  restoreOperations(): Promise<Done>;
  /** Access policies to role assignments, or the reverse. */
  switchModel(): Promise<Done>;
  restoreModel(): Promise<Done>;
  /** Closes the vault to every network, and to trusted services. */
  closeNetwork(): Promise<Done>;
  openNetwork(): Promise<Done>;
  deleteIdentity(): Promise<Done>;
  /** The set has no identity any more. */
  removeIdentity(): Promise<Done>;
  /** Gives the set a new identity with the permissions that it needs (CMK-38). */
  replaceIdentity(): Promise<Done>;
}
