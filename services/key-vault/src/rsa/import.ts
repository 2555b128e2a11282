import { checkPrimeSync, createPrivateKey, createPublicKey, type KeyObject } from 'node:crypto';
import { Rejection } from '@interlock/event-store/rejection';
import { checkSize, type RsaImport, type RsaPublicJwk } from './rsa.ts';

/** A key that passed every check. `pkcs8` (DER) is its private half; the caller overwrites it. */
export interface ImportedKey {
  readonly bits: number;
  readonly publicJwk: RsaPublicJwk;
  readonly pkcs8: Uint8Array;
}

/** Above this modulus size OpenSSL (`OPENSSL_RSA_SMALL_MODULUS_BITS`) accepts a public exponent of at most 64 bits. */
const smallModulusBits = 3_072;

const privateFields = ['d', 'p', 'q', 'dp', 'dq', 'qi'] as const;
const fields = ['n', 'e', ...privateFields] as const;
type Field = (typeof fields)[number];

const refuse = (reason: string, message: string, field?: string) =>
  new Rejection('INVALID_ARGUMENT', reason, message, field ? { field } : {});

/**
 * Reads an existing key and checks that it is a sound RSA key: size, exponents, two distinct primes whose product is the
 * modulus, and CRT values that fit. A key that merely parses could wrap DEKs that cannot be unwrapped.
 * @throws Rejection NOT_AN_RSA_KEY, PRIVATE_PART_MISSING, KEY_MALFORMED, KEY_WEAK, KEY_SIZE_UNSUPPORTED, PEM_ENCRYPTED.
 * Rules CMK-20, KV-21, KV-93.
 */
export function importRsaKey(material: RsaImport): ImportedKey {
  const jwk = material.format === 'jwk' ? material.jwk : jwkOfPem(material.pem);
  const numbers = readNumbers(jwk);
  const bits = numbers.n.toString(2).length;
  checkSize(bits, 'n');
  checkConsistency(numbers, bits);
  const encode = (field: Field) => base64url(numbers[field]);
  const publicJwk: RsaPublicJwk = { kty: 'RSA', n: encode('n'), e: encode('e') };
  const privateJwk = Object.fromEntries(privateFields.map((field) => [field, encode(field)]));
  const key = createPrivateKey({ key: { ...publicJwk, ...privateJwk }, format: 'jwk' });
  return { bits, publicJwk, pkcs8: key.export({ type: 'pkcs8', format: 'der' }) };
}

/** The public half as the vault shows it. */
export function publicJwkOf(key: KeyObject): RsaPublicJwk {
  const { n, e } = key.export({ format: 'jwk' });
  if (n === undefined || e === undefined) throw new Error('an RSA key without modulus or exponent');
  return { kty: 'RSA', n, e };
}

function jwkOfPem(pem: string): Record<string, unknown> {
  if (pem.includes('ENCRYPTED')) {
    throw refuse(
      'PEM_ENCRYPTED',
      'key is an encrypted PEM; decrypt it first, because the vault accepts no passphrase',
      'pem',
    );
  }
  const key = parsePem(pem);
  if (key.asymmetricKeyType !== 'rsa') {
    throw refuse('NOT_AN_RSA_KEY', `key is of type ${key.asymmetricKeyType ?? 'secret'}; it must be rsa`, 'pem');
  }
  return { ...key.export({ format: 'jwk' }) };
}

/** Also reads a PEM with only a public half, so that the error can name the missing part. */
function parsePem(pem: string): KeyObject {
  try {
    return pem.includes('PRIVATE KEY') ? createPrivateKey(pem) : createPublicKey(pem);
  } catch {
    // The parser's message may quote its input, which is a private key.
    throw refuse('KEY_MALFORMED', 'key is not a PEM of a private key (PKCS#8 or PKCS#1)', 'pem');
  }
}

function readNumbers(jwk: Readonly<Record<string, unknown>>): Record<Field, bigint> {
  if (jwk.kty !== 'RSA' && jwk.kty !== 'RSA-HSM') {
    throw refuse('NOT_AN_RSA_KEY', `kty is ${JSON.stringify(jwk.kty)}; it must be "RSA"`, 'kty');
  }
  const number = (field: Field): bigint => {
    const value = jwk[field];
    if (value === undefined && field !== 'n' && field !== 'e') {
      throw refuse('PRIVATE_PART_MISSING', `${field} is missing; an import needs ${privateFields.join(', ')}`, field);
    }
    if (typeof value !== 'string' || !/^[A-Za-z0-9_-]{1,1024}$/.test(value)) {
      throw refuse('KEY_MALFORMED', `${field} must be a base64url number without padding`, field);
    }
    return BigInt(`0x${Buffer.from(value, 'base64url').toString('hex') || '0'}`);
  };
  const [n, e, d, p, q, dp, dq, qi] = [
    number('n'),
    number('e'),
    number('d'),
    number('p'),
    number('q'),
    number('dp'),
    number('dq'),
    number('qi'),
  ];
  return { n, e, d, p, q, dp, dq, qi };
}

/** Bounds of FIPS 186-5, appendix A.1.1: exponent, distance of the primes, size of the private exponent. */
function checkConsistency(key: Record<Field, bigint>, bits: number): void {
  const { n, e, d, p, q, dp, dq, qi } = key;
  const malformed = (holds: boolean, field: Field, rule: string) => {
    if (!holds) throw refuse('KEY_MALFORMED', `${field} does not fit the other numbers: ${rule}`, field);
  };
  const weak = (holds: boolean, field: Field, rule: string) => {
    if (!holds) throw refuse('KEY_WEAK', `${field} makes the key weak: ${rule}`, field);
  };
  malformed(p > 1n && q > 1n && p * q === n, 'n', 'it must be p × q');
  weak((e & 1n) === 1n && e > 0xffffn && e < 1n << 256n, 'e', 'it must be odd, above 2^16 and below 2^256');
  malformed(bits <= smallModulusBits || e < 1n << 64n, 'e', `above ${smallModulusBits} bits it must be below 2^64`);
  const distance = p > q ? p - q : q - p;
  weak(distance > 1n << BigInt(bits / 2 - 100), 'p', 'p and q are too close to each other');
  for (const field of ['p', 'q'] as const) malformed(checkPrimeSync(key[field]), field, 'it must be a prime');
  malformed((e * d) % (p - 1n) === 1n && (e * d) % (q - 1n) === 1n, 'd', 'it must be the inverse of e');
  weak(d > 1n << BigInt(bits / 2), 'd', 'the private exponent is too small');
  malformed(dp === d % (p - 1n), 'dp', 'it must be d mod (p − 1)');
  malformed(dq === d % (q - 1n), 'dq', 'it must be d mod (q − 1)');
  malformed((qi * q) % p === 1n && qi < p, 'qi', 'it must be the inverse of q mod p');
}

function base64url(value: bigint): string {
  const hex = value.toString(16);
  return Buffer.from(hex.length % 2 ? `0${hex}` : hex, 'hex').toString('base64url');
}
