import { type Cause, Rejection } from '@interlock/event-store';
import type { KeyVault } from './neighbours.ts';
import { callFor } from './sets.ts';

/** What a key's owner agrees to: that the data keys of a set come from one version under another. */
export interface Move {
  readonly sourceKeyVersion: string;
  readonly targetKeyVersion: string;
  /** `principals/<uuid>`: the identity of the set. */
  readonly principal: string;
  readonly diskEncryptionSet: string;
}

/**
 * Has the vault judge and record the word of the source's owner, called with the owner's own token (CMK-10). The token is
 * kept nowhere.
 * @throws Rejection PERMISSION_DENIED ACCESS_DENIED when its holder may not change the source; INVALID_ARGUMENT
 *   KEY_OWNER_TOKEN_INVALID when the vault does not take it at all; FAILED_PRECONDITION KEY_PURGED, and as the vault does
 */
export const ownersWord = async (
  keyVault: Pick<KeyVault, 'authorizeRewrap'>,
  move: Move,
  token: string,
  cause: Cause,
): Promise<void> => {
  try {
    await keyVault.authorizeRewrap(move, { ...callFor(cause), token });
  } catch (error) {
    throw error instanceof Rejection && error.code === 'UNAUTHENTICATED' ? tokenInvalid(error) : error;
  }
};

/** A standby that a set is to have, and what is under which keys. */
export interface StandbyWish extends Omit<Move, 'sourceKeyVersion' | 'targetKeyVersion'> {
  /** Versions that something of the set is, or is about to be, under. */
  readonly keyVersions: readonly string[];
  /** Version of the standby key. */
  readonly standby: string;
}

/**
 * Has the owner of everything a set is under agree to a standby key. Whoever has the say over a standby reaches every data
 * key of the set once the first key is purged, so the set's administrator alone cannot name one.
 * @throws Rejection INVALID_ARGUMENT KEY_OWNER_TOKEN_MISSING; and as `ownersWord` does
 */
export const standbyWord = async (
  keyVault: Pick<KeyVault, 'authorizeRewrap'>,
  { keyVersions, standby, principal, diskEncryptionSet }: StandbyWish,
  token: string,
  cause: Cause,
): Promise<void> => {
  if (token === '') throw tokenMissing(keyVersions);
  for (const sourceKeyVersion of keyVersions) {
    const move = { sourceKeyVersion, targetKeyVersion: standby, principal, diskEncryptionSet };
    await ownersWord(keyVault, move, token, cause);
  }
};

const tokenMissing = (keyVersions: readonly string[]): Rejection =>
  new Rejection(
    'INVALID_ARGUMENT',
    'KEY_OWNER_TOKEN_MISSING',
    `key_owner_token must be an access token for the vault of somebody who may update ${keyVersions.join(' and ')}: a standby ` +
      'key gives its owner a say over data under it',
    { field: 'key_owner_token', key_versions: keyVersions.join(',') },
  );

const tokenInvalid = (cause: Rejection): Rejection =>
  new Rejection(
    'INVALID_ARGUMENT',
    'KEY_OWNER_TOKEN_INVALID',
    `key_owner_token must be a valid access token for the vault: the vault refused it (${cause.reason})`,
    { field: 'key_owner_token', vault_reason: cause.reason },
    { cause },
  );
