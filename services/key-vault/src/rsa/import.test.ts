import assert from 'node:assert/strict';
import { createPublicKey, generateKeyPairSync, type JsonWebKey, publicEncrypt } from 'node:crypto';
import { test } from 'node:test';
import type { Rejection } from '@interlock/event-store';
import { importRsaKey } from './import.ts';

const numberOf = (text = ''): bigint => BigInt(`0x${Buffer.from(text, 'base64url').toString('hex')}`);
const textOf = (value: bigint): string => {
  const hex = value.toString(16);
  return Buffer.from(hex.padStart(hex.length + (hex.length % 2), '0'), 'hex').toString('base64url');
};
const gcd = (a: bigint, b: bigint): bigint => (b === 0n ? a : gcd(b, a % b));
/** The inverse of `value`, by the extended Euclidean algorithm. */
const inverse = (value: bigint, modulus: bigint): bigint => {
  let [low, high, factor, next] = [modulus, value % modulus, 0n, 1n];
  while (high > 0n) {
    const quotient = low / high;
    [low, high] = [high, low - quotient * high];
    [factor, next] = [next, factor - quotient * next];
  }
  return ((factor % modulus) + modulus) % modulus;
};

/** The same primes with a public exponent of so many bits: an equally valid key. */
const withExponent = ({ n, p, q, qi }: JsonWebKey, exponentBits: number) => {
  const [first, second] = [numberOf(p) - 1n, numberOf(q) - 1n];
  let e = (1n << BigInt(exponentBits - 1)) + 1n;
  while (gcd(e, first * second) !== 1n) e += 2n;
  const d = inverse(e, first * second);
  return { kty: 'RSA', n, e: textOf(e), d: textOf(d), p, q, dp: textOf(d % first), dq: textOf(d % second), qi };
};

test('KV-21: a key with a large public exponent is imported only if the key can be used', () => {
  const keyOf = (modulusLength: number) =>
    generateKeyPairSync('rsa', { modulusLength }).privateKey.export({ format: 'jwk' });
  const [smaller, larger] = [keyOf(3_072), keyOf(4_096)];
  for (const jwk of [withExponent(smaller, 200), withExponent(larger, 64)]) {
    const { bits, publicJwk } = importRsaKey({ format: 'jwk', jwk });
    const key = createPublicKey({ key: { ...publicJwk }, format: 'jwk' });
    assert.equal(publicEncrypt({ key, oaepHash: 'sha256' }, Buffer.alloc(32)).length, bits / 8);
  }
  assert.throws(
    () => importRsaKey({ format: 'jwk', jwk: withExponent(larger, 65) }),
    ({ reason, metadata }: Rejection) => reason === 'KEY_MALFORMED' && metadata.field === 'e',
  );
});
