import { hash, timingSafeEqual } from 'node:crypto';
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
  type NewRsaKey,
  plaintextLimit,
  type RewrapJob,
  type RsaEngine,
  type RsaImport,
  type RsaKey,
  rsaClosed,
  type SignJob,
  type VerifyJob,
} from './rsa.ts';

const tagLength = 8;
const saltLength = 8;

/**
 * The RSA engine of the simulation: no threads, no randomness but `random`, microseconds instead of milliseconds, and the same
 * results and refusals as the pool. NOT SECURE: everything derives from the public modulus, so anyone can decrypt. Sealing
 * is the real one, so purges and tampering have the same effect as in production.
 */
export class SimulatedRsa implements RsaEngine {
  readonly #sealing: Sealing;
  readonly #random: Random;
  readonly #legacyPadding: boolean;
  /** Versions whose private key was opened. */
  readonly #opened = new Set<string>();
  #isClosed = false;

  constructor(parts: { sealing: Sealing; random: Random; legacyPadding?: boolean }) {
    this.#sealing = parts.sealing;
    this.#random = parts.random;
    this.#legacyPadding = parts.legacyPadding ?? false;
  }

  async generate(version: string, bits: number): Promise<NewRsaKey> {
    checkSize(bits);
    this.#checkOpen();
    const modulus = Uint8Array.from(this.#random.bytes(bits / 8));
    modulus[0] = (modulus[0] ?? 0) | 0x80;
    const n = Buffer.from(modulus).toString('base64url');
    const sealedPrivateKey = await this.#seal(version, simulatedPrivateKey(n));
    return { bits, publicJwk: { kty: 'RSA', n, e: 'AQAB' }, sealedPrivateKey };
  }

  async import(version: string, material: RsaImport): Promise<NewRsaKey> {
    this.#checkOpen();
    const { bits, publicJwk, pkcs8 } = importRsaKey(material);
    return { bits, publicJwk, sealedPrivateKey: await this.#seal(version, pkcs8) };
  }

  async encrypt(key: RsaKey, { algorithm, value }: CipherJob): Promise<Uint8Array> {
    this.#checkOpen();
    checkPlaintext({ algorithm, value }, modulusLength(key.publicJwk), this.#legacyPadding);
    return makeSimulatedWrap(key, algorithm, value, algorithm === 'RSA1_5' ? [] : this.#random.bytes(saltLength));
  }

  async decrypt(key: RsaKey, job: CipherJob): Promise<Uint8Array> {
    checkCiphertext(job, modulusLength(key.publicJwk), this.#legacyPadding);
    await this.#openPrivateKey(key);
    return openSimulatedWrap(key, job.algorithm, job.value);
  }

  wrap(key: RsaKey, job: CipherJob): Promise<Uint8Array> {
    return this.encrypt(key, job);
  }

  unwrap(key: RsaKey, job: CipherJob): Promise<Uint8Array> {
    return this.decrypt(key, job);
  }

  async rewrap(source: RsaKey, target: RsaKey, job: RewrapJob): Promise<Uint8Array> {
    const limit = plaintextLimit(job.targetAlgorithm, modulusLength(target.publicJwk), this.#legacyPadding);
    const plaintext = await this.decrypt(source, { algorithm: job.sourceAlgorithm, value: job.value });
    try {
      if (plaintext.length > limit) throw badCiphertext(job.sourceAlgorithm);
      return await this.encrypt(target, { algorithm: job.targetAlgorithm, value: plaintext });
    } finally {
      plaintext.fill(0);
    }
  }

  async sign(key: RsaKey, job: SignJob): Promise<Uint8Array> {
    checkDigest(job);
    await this.#openPrivateKey(key);
    return signatureOf(key, job);
  }

  async verify(key: RsaKey, job: VerifyJob): Promise<boolean> {
    checkDigest(job);
    this.#checkOpen();
    const expected = signatureOf(key, job);
    return job.signature.length === expected.length && timingSafeEqual(job.signature, expected);
  }

  async evict(version: string): Promise<void> {
    this.#opened.delete(version);
  }

  async close(): Promise<void> {
    this.#isClosed = true;
    this.#opened.clear();
  }

  #checkOpen(): void {
    if (this.#isClosed) throw rsaClosed();
  }

  /** Opens the sealed key at its first use, as a thread does. */
  async #openPrivateKey(key: RsaKey): Promise<void> {
    this.#checkOpen();
    if (this.#opened.has(key.version)) return;
    const sealed = await key.sealedPrivateKey();
    const sealKey = await this.#sealing.open(key.version);
    try {
      openPrivateKey(sealKey, key.version, sealed).fill(0);
    } finally {
      sealKey.fill(0);
    }
    this.#opened.add(key.version);
  }

  async #seal(version: string, pkcs8: Uint8Array): Promise<Uint8Array> {
    const sealKey = await this.#sealing.obtain(version);
    try {
      return sealPrivateKey(sealKey, version, pkcs8, this.#random.bytes(12));
    } finally {
      sealKey.fill(0);
      pkcs8.fill(0);
    }
  }
}

/** The private half of a generated key: recognisable bytes that must not be stored in plain text (G8). @param n of its public half */
export const simulatedPrivateKey = (n: string): Uint8Array => stream(256, n, 'private half');

const signatureOf = ({ publicJwk }: RsaKey, { algorithm, digest }: SignJob): Uint8Array =>
  stream(modulusLength(publicJwk), publicJwk.n, 'sign', algorithm, digest);

/**
 * Wraps a value, which needs no private key. The result is 0 ‖ tag ‖ body: the body is (length ‖ salt ‖ plaintext ‖ zeros)
 * under a stream of the tag, and the tag is a MAC over the plain body. Without salt the overhead is 11 bytes, so RSA1_5 fits.
 * @param salt eight bytes, or none for RSA1_5
 */
export function makeSimulatedWrap(
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
  xorInto(ciphertext.subarray(1 + tagLength), body, stream(body.length, key.publicJwk.n, algorithm, tag));
  return ciphertext;
}

/** Opens a wrap, which needs no private key. @throws Rejection BAD_CIPHERTEXT */
export function openSimulatedWrap(key: Pick<RsaKey, 'publicJwk'>, algorithm: string, wrapped: Uint8Array): Uint8Array {
  const ciphertext = Uint8Array.from(wrapped);
  const tag = ciphertext.subarray(1, 1 + tagLength);
  const body = ciphertext.slice(1 + tagLength);
  xorInto(body, body, stream(body.length, key.publicJwk.n, algorithm, tag));
  if (ciphertext[0] !== 0 || !timingSafeEqual(tag, macOf(key, algorithm, body))) throw badCiphertext(algorithm);
  const start = algorithm === 'RSA1_5' ? 2 : 2 + saltLength;
  return body.slice(start, start + new DataView(body.buffer).getUint16(0));
}

/** XORs `source` with a stream into `target`; the two may be the same. A loop, because `map` calls a function for each byte. */
const xorInto = (target: Uint8Array, source: Uint8Array, stream: Uint8Array): void => {
  for (let at = 0; at < target.length; at += 1) target[at] = (source[at] ?? 0) ^ (stream[at] ?? 0);
};

const macOf = (key: Pick<RsaKey, 'publicJwk'>, algorithm: string, body: Uint8Array): Uint8Array =>
  hash('sha256', joined([key.publicJwk.n, algorithm, body]), 'buffer').subarray(0, tagLength);

/** `length` bytes that look random and depend on all of `seeds`. */
const stream = (length: number, ...seeds: readonly (string | Uint8Array)[]): Uint8Array =>
  hash('shake256', joined(seeds), { outputEncoding: 'buffer', outputLength: length });

/** The seeds end to end, a zero after each. */
const joined = (seeds: readonly (string | Uint8Array)[]): Buffer =>
  Buffer.concat(seeds.flatMap((seed) => [typeof seed === 'string' ? Buffer.from(seed) : seed, zero]));
const zero = new Uint8Array(1);
