import { createHash, hash, timingSafeEqual } from 'node:crypto';
import type { Random } from '@interlock/runtime';
import { errors, type JWTHeaderParameters, UnsecuredJWT } from 'jose';
import type { TokenFormat } from './token-format.ts';

/**
 * `rs256` for the simulation: the same tokens, claims and refusals, but signed with a hash. Signing is synchronous, needs no thread,
 * and depends on `random` only. NOT SECURE: with a public key anyone can sign.
 */
export const simulatedTokens = (random: Pick<Random, 'bytes'>): TokenFormat => {
  const modulusBytes = 256;
  const signatureOf = (n: string, signed: string): Buffer => hash('sha256', `${n}.${signed}`, 'buffer');
  const encode = (value: unknown): string => Buffer.from(JSON.stringify(value)).toString('base64url');

  return {
    async newKey() {
      const seed = random.bytes(32);
      const n = createHash('shake256', { outputLength: modulusBytes }).update(seed).digest().toString('base64url');
      return { n, e: 'AQAB', pkcs8: seed };
    },
    openKey(pkcs8) {
      const n = createHash('shake256', { outputLength: modulusBytes }).update(pkcs8).digest().toString('base64url');
      return async (kid, claims) => {
        const signed = `${encode({ alg: 'RS256', kid, typ: 'JWT' })}.${encode(claims)}`;
        return `${signed}.${signatureOf(n, signed).toString('base64url')}`;
      };
    },
    readKeys:
      ({ keys }) =>
      async ({ kid, alg }) => {
        const usable = keys.filter((key) => key.kty === 'RSA' && (kid === undefined || key.kid === kid));
        const [key, ...others] = alg === 'RS256' ? usable : [];
        if (!key) throw new errors.JWKSNoMatchingKey();
        if (others.length > 0) throw new errors.JWKSMultipleMatchingKeys();
        return key;
      },
    async verify(token, find, expected) {
      const [header = '', payload = '', signature, ...rest] = token.split('.');
      if (rest.length > 0 || signature === undefined) throw new errors.JWSInvalid('Invalid Compact JWS');
      const read = headerOf(header);
      if (read.alg !== 'RS256')
        throw new errors.JOSEAlgNotAllowed('"alg" (Algorithm) Header Parameter value not allowed');
      const key = await find(read, { payload, signature });
      if (!('n' in key) || typeof key.n !== 'string') throw new errors.JWKInvalid('the key has no modulus');
      const wanted = signatureOf(key.n, `${header}.${payload}`);
      const given = Buffer.from(signature, 'base64url');
      if (given.length !== wanted.length || !timingSafeEqual(given, wanted)) {
        throw new errors.JWSSignatureVerificationFailed();
      }
      return UnsecuredJWT.decode(`${UNSECURED}.${payload}.`, expected).payload;
    },
  };
};

/** Header of an unsecured token, so that the same code checks its claims as those of a signed one. */
const UNSECURED = Buffer.from('{"alg":"none"}').toString('base64url');

const headerOf = (encoded: string): JWTHeaderParameters => {
  try {
    const header: unknown = JSON.parse(Buffer.from(encoded, 'base64url').toString());
    if (typeof header === 'object' && header !== null && 'alg' in header && typeof header.alg === 'string') {
      return { ...header, alg: header.alg };
    }
  } catch (cause) {
    throw new errors.JWSInvalid('JWS Protected Header is invalid', { cause });
  }
  throw new errors.JWSInvalid('JWS Protected Header is invalid');
};
