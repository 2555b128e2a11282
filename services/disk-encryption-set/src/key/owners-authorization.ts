import { type Cause, Rejection } from '@interlock/event-store';
import { callFor, type KeyVault } from '../sets.ts';

/** What a key's owner permits: to move the DEKs of a set from one version to another. */
export interface Move {
  readonly sourceKeyVersion: string;
  readonly targetKeyVersion: string;
  /** `principals/<uuid>`: the identity of the set. */
  readonly principal: string;
  readonly diskEncryptionSet: string;
}

/** Characters of a bearer token (RFC 6750, b64token), and how many: fewer than servers accept as metadata (8 KiB). */
const bearerToken = /^[A-Za-z0-9._~+/=-]{1,7000}$/;

/**
 * Has the vault check and record the authorization of the source's owner, with the owner's own token (CMK-10). The token is not
 * stored.
 * @throws Rejection PERMISSION_DENIED ACCESS_DENIED when its holder may not change the source; INVALID_ARGUMENT
 *   KEY_OWNER_TOKEN_INVALID when it is no bearer token or the vault does not accept it; FAILED_PRECONDITION KEY_PURGED, and as the vault does
 */
export const authorizeMove = async (
  keyVault: Pick<KeyVault, 'authorizeRewrap'>,
  move: Move,
  token: string,
  cause: Cause,
): Promise<void> => {
  // Metadata cannot carry other texts: the call would fail before it reaches the vault.
  if (!bearerToken.test(token)) throw notAToken();
  try {
    await keyVault.authorizeRewrap(move, { ...callFor(cause), token });
  } catch (error) {
    throw error instanceof Rejection && error.code === 'UNAUTHENTICATED' ? tokenInvalid(error) : error;
  }
};

/** The token itself is a secret: the error does not repeat it. */
const notAToken = (): Rejection =>
  new Rejection(
    'INVALID_ARGUMENT',
    'KEY_OWNER_TOKEN_INVALID',
    'key_owner_token must be a valid access token for the vault: up to 7,000 letters, digits and the characters -._~+/=; issue one with IssueToken',
    { field: 'key_owner_token' },
  );

const tokenInvalid = (cause: Rejection): Rejection =>
  new Rejection(
    'INVALID_ARGUMENT',
    'KEY_OWNER_TOKEN_INVALID',
    `key_owner_token must be a valid access token for the vault: the vault refused it (${cause.reason})`,
    { field: 'key_owner_token', vault_reason: cause.reason },
    { cause },
  );
