import { createPrivateKey, createPublicKey, generateKeyPair } from 'node:crypto';
import { promisify } from 'node:util';
import {
  createLocalJWKSet,
  type JSONWebKeySet,
  type JWTPayload,
  type JWTVerifyGetKey,
  type JWTVerifyOptions,
  jwtVerify,
  SignJWT,
} from 'jose';

/** A new key that signs tokens: its public part by RFC 7518 §6.3.1, its private part to be sealed. */
export interface NewSigningKey {
  /** Modulus and exponent, base64url. */
  readonly n: string;
  readonly e: string;
  /** The caller clears it. */
  readonly pkcs8: Uint8Array;
}

/** Signs claims as a token under the name `kid`. */
export type SignToken = (kid: string, claims: JWTPayload) => Promise<string>;

/** How tokens are signed and verified: `rs256`, or that of the simulation. */
export interface TokenFormat {
  newKey(): Promise<NewSigningKey>;
  /** Opens a private key for signing. It keeps no copy of the bytes. */
  openKey(pkcs8: Uint8Array): SignToken;
  /** Prepares published keys for look-ups by the header of a token. The look-up throws jose's errors. */
  readKeys(keys: JSONWebKeySet): JWTVerifyGetKey;
  /** Checks signature and claims. @returns the claims @throws jose's errors */
  verify(token: string, find: JWTVerifyGetKey, expected: JWTVerifyOptions): Promise<JWTPayload>;
}

/** RSA modulus of signing keys, in bits: RS256 requires at least 2048 (RFC 7518 §3.3). */
const modulusLength = 2048;
const generate = promisify(generateKeyPair);

/** JSON Web Tokens signed with RS256. */
export const rs256: TokenFormat = {
  async newKey() {
    const { privateKey } = await generate('rsa', { modulusLength });
    const { n, e } = createPublicKey(privateKey).export({ format: 'jwk' });
    if (!n || !e) throw new Error('an RSA key exports n and e');
    return { n, e, pkcs8: privateKey.export({ format: 'der', type: 'pkcs8' }) };
  },
  openKey(pkcs8) {
    // Without a copy: it would stay in memory, because only the caller's bytes are overwritten.
    const key = Buffer.from(pkcs8.buffer, pkcs8.byteOffset, pkcs8.byteLength);
    const privateKey = createPrivateKey({ key, format: 'der', type: 'pkcs8' });
    return (kid, claims) => new SignJWT(claims).setProtectedHeader({ alg: 'RS256', kid, typ: 'JWT' }).sign(privateKey);
  },
  readKeys: (keys) => createLocalJWKSet(keys),
  async verify(token, find, expected) {
    const { payload } = await jwtVerify(token, find, { ...expected, algorithms: ['RS256'] });
    return payload;
  },
};
