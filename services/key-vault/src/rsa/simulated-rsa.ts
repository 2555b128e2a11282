import { hash, timingSafeEqual } from 'node:crypto';
import { Rejection } from '@interlock/event-store';
import type { Random } from '@interlock/runtime';
import { openPrivateKey, type Sealing, sealPrivateKey } from '../sealing/sealing.ts';
import { importRsaKey } from './import.ts';
import {
  badCiphertext,
  type CipherJob,
  checkCiphertext,
  checkDigest,
  checkPlaintext,
  checkSize,
  modulusLength,
  plaintextLimit,
  type RsaEngine,
  type RsaKey,
} from './rsa.ts';

const tagLength = 8;
const saltLength = 8;

/**
 * A twin of the RSA pool for the simulation: no threads, no chance but `random`, microseconds instead of milliseconds,
 * and the same answers and refusals. NOT SECURE: everything derives from the public modulus, so anybody can decrypt.
 * Sealing is the real one, so purging and tampering act as they do in production.
 */
export function createSimulatedRsa(parts: { sealing: Sealing; random: Random; legacyPadding?: boolean }): RsaEngine {
  const { sealing, random, legacyPadding = false } = parts;
  const opened = new Set<string>();
  let closed = false;

  const checkOpen = () => {
    if (closed) throw new Rejection('UNAVAILABLE', 'RSA_CLOSED', 'this vault is shutting down; ask another replica');
  };

  /** As in a worker: the sealed key is opened at first use only. */
  const needPrivateKey = async (key: RsaKey) => {
    checkOpen();
    if (opened.has(key.version)) return;
    const sealed = await key.sealedPrivateKey();
    const sealKey = await sealing.open(key.version);
    try {
      openPrivateKey(sealKey, key.version, sealed).fill(0);
    } finally {
      sealKey.fill(0);
    }
    opened.add(key.version);
  };

  const sealNew = async (version: string, pkcs8: Uint8Array) => {
    const sealKey = await sealing.obtain(version);
    try {
      return sealPrivateKey(sealKey, version, pkcs8, random.bytes(12));
    } finally {
      sealKey.fill(0);
      pkcs8.fill(0);
    }
  };

  const encrypt = async (key: RsaKey, job: CipherJob) => {
    checkOpen();
    const modulus = modulusLength(key.publicJwk);
    checkPlaintext(job, modulus, legacyPadding);
    return scramble(key, job.algorithm, job.value, job.algorithm === 'RSA1_5' ? [] : random.bytes(saltLength));
  };
  const decrypt = async (key: RsaKey, job: CipherJob) => {
    checkCiphertext(job, modulusLength(key.publicJwk), legacyPadding);
    await needPrivateKey(key);
    return unscramble(key, job.algorithm, job.value);
  };

  return {
    async generate(version, bits) {
      checkSize(bits);
      checkOpen();
      const modulus = Uint8Array.from(random.bytes(bits / 8));
      modulus[0] = (modulus[0] ?? 0) | 0x80;
      const n = Buffer.from(modulus).toString('base64url');
      const sealedPrivateKey = await sealNew(version, simulatedPrivateKey(n));
      return { bits, publicJwk: { kty: 'RSA', n, e: 'AQAB' }, sealedPrivateKey };
    },
    async import(version, material) {
      checkOpen();
      const { bits, publicJwk, pkcs8 } = importRsaKey(material);
      return { bits, publicJwk, sealedPrivateKey: await sealNew(version, pkcs8) };
    },
    encrypt,
    decrypt,
    wrap: encrypt,
    unwrap: decrypt,
    async rewrap(source, target, job) {
      const limit = plaintextLimit(job.targetAlgorithm, modulusLength(target.publicJwk), legacyPadding);
      const plaintext = await decrypt(source, { algorithm: job.sourceAlgorithm, value: job.value });
      try {
        if (plaintext.length > limit) throw badCiphertext(job.sourceAlgorithm);
        return await encrypt(target, { algorithm: job.targetAlgorithm, value: plaintext });
      } finally {
        plaintext.fill(0);
      }
    },
    async sign(key, job) {
      checkDigest(job);
      await needPrivateKey(key);
      return stream(modulusLength(key.publicJwk), key.publicJwk.n, 'sign', job.algorithm, job.digest);
    },
    async verify(key, job) {
      checkDigest(job);
      checkOpen();
      const expected = stream(modulusLength(key.publicJwk), key.publicJwk.n, 'sign', job.algorithm, job.digest);
      return job.signature.length === expected.length && timingSafeEqual(job.signature, expected);
    },
    async evict(version) {
      opened.delete(version);
    },
    async close() {
      closed = true;
      opened.clear();
    },
  };
}

/** The private half of a generated key: recognisable bytes that must be nowhere in the clear (G8). @param n of its public half */
export const simulatedPrivateKey = (n: string): Uint8Array => stream(256, n, 'private half');

/** What a wrap holds, told without the private half: for whoever looks for it where it must not be. */
export const openSimulatedWrap = (key: Pick<RsaKey, 'publicJwk'>, algorithm: string, wrapped: Uint8Array): Uint8Array =>
  unscramble(key, algorithm, wrapped);

/** A wrap as anyone makes it who has only the public half. @param salt eight bytes */
export const makeSimulatedWrap = (
  key: Pick<RsaKey, 'publicJwk'>,
  algorithm: string,
  plaintext: Uint8Array,
  salt: Uint8Array,
): Uint8Array => scramble(key, algorithm, plaintext, salt);

/**
 * 0 ‖ tag ‖ body, where body = (length ‖ salt ‖ plaintext ‖ zeros) under a stream of the tag, and the tag is a MAC over
 * what the body hides: exactly 11 bytes of overhead without salt, so RSA1_5 fits too.
 */
function scramble(
  key: Pick<RsaKey, 'publicJwk'>,
  algorithm: string,
  plaintext: Uint8Array,
  salt: ArrayLike<number>,
): Uint8Array {
  const body = new Uint8Array(modulusLength(key.publicJwk) - 1 - tagLength);
  new DataView(body.buffer).setUint16(0, plaintext.length);
  body.set(salt, 2);
  body.set(plaintext, 2 + salt.length);
  const tag = macOf(key, algorithm, body);
  const ciphertext = new Uint8Array(1 + tagLength + body.length);
  ciphertext.set(tag, 1);
  hide(ciphertext.subarray(1 + tagLength), body, stream(body.length, key.publicJwk.n, algorithm, tag));
  return ciphertext;
}

function unscramble(key: Pick<RsaKey, 'publicJwk'>, algorithm: string, given: Uint8Array): Uint8Array {
  const ciphertext = Uint8Array.from(given);
  const tag = ciphertext.subarray(1, 1 + tagLength);
  const body = ciphertext.slice(1 + tagLength);
  hide(body, body, stream(body.length, key.publicJwk.n, algorithm, tag));
  if (ciphertext[0] !== 0 || !timingSafeEqual(tag, macOf(key, algorithm, body))) throw badCiphertext(algorithm);
  const start = algorithm === 'RSA1_5' ? 2 : 2 + saltLength;
  return body.slice(start, start + new DataView(body.buffer).getUint16(0));
}

/** `target` = `source` under the stream; the two may be the same. A loop, not `map`: that calls a function for each byte. */
const hide = (target: Uint8Array, source: Uint8Array, under: Uint8Array): void => {
  for (let at = 0; at < target.length; at += 1) target[at] = (source[at] ?? 0) ^ (under[at] ?? 0);
};

const macOf = (key: Pick<RsaKey, 'publicJwk'>, algorithm: string, body: Uint8Array): Uint8Array =>
  hash('sha256', joined([key.publicJwk.n, algorithm, body]), 'buffer').subarray(0, tagLength);

/** `length` bytes that look random and depend on all of `seeds`. */
const stream = (length: number, ...seeds: readonly (string | Uint8Array)[]): Uint8Array =>
  hash('shake256', joined(seeds), { outputEncoding: 'buffer', outputLength: length });

/** All of them as one text of bytes, a zero behind each. */
const joined = (seeds: readonly (string | Uint8Array)[]): Buffer =>
  Buffer.concat(seeds.flatMap((seed) => [typeof seed === 'string' ? Buffer.from(seed) : seed, zero]));
const zero = new Uint8Array(1);
