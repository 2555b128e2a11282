import { hash } from 'node:crypto';
import { Rejection } from '@interlock/event-store';
import type { Random } from '@interlock/runtime';

/** Metadata key in which reads and writes carry their token. */
export const accessTokenKey = 'x-interlock-disk-access';

/** A token for one epoch of a disk: the epoch in front, so that an old one is distinguished from a wrong one. */
export interface AccessToken {
  /** A secret: returned to the caller and stored nowhere. */
  readonly token: string;
  /** What is stored. The token has 256 random bits, so a slow hash would add nothing. */
  readonly tokenHash: string;
}

/** Bytes of the secret in a token. */
export const accessSecretLength = 32;

/** Makes the token of an epoch; the same for the same secret. */
export const accessTokenOf = (attachEpoch: number, secret: Uint8Array): string =>
  `${attachEpoch}.${Buffer.from(secret).toString('base64url')}`;

/** Makes a new random token. */
export const newAccessToken = (attachEpoch: number, random: Pick<Random, 'bytes'>): AccessToken => {
  const token = accessTokenOf(attachEpoch, random.bytes(accessSecretLength));
  return { token, tokenHash: hashAccessToken(token) };
};

/** SHA-256, base64url. */
export const hashAccessToken = (token: string): string => hash('sha256', token, 'base64url');

/** The epoch that a token names; undefined for any other text. */
export const epochOfToken = (token: string): number | undefined => {
  const [, epoch] = /^([1-9]\d{0,14})\.[A-Za-z0-9_-]{43}$/.exec(token) ?? [];
  return epoch === undefined ? undefined : Number(epoch);
};

/** The refusal of a call without a token, or with one of another disk. */
export const noToken = (token: string | undefined): Rejection =>
  token === undefined
    ? new Rejection(
        'UNAUTHENTICATED',
        'DISK_ACCESS_TOKEN_MISSING',
        'metadata "x-interlock-disk-access" must carry the token of OpenDisks or BeginAccess',
      )
    : new Rejection('UNAUTHENTICATED', 'DISK_ACCESS_TOKEN_INVALID', 'the access token does not belong to this disk');
