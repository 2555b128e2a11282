import { Rejection } from '@interlock/event-store/rejection';

/** Sizes of modulus a key may have, in bits. Rules CMK-20, KV-08. */
export const rsaSizes = [2048, 3072, 4096] as const;

/** The public half of an RSA key as a JSON Web Key: `n` and `e` are base64url without padding, big-endian. */
export interface RsaPublicJwk {
  readonly kty: 'RSA';
  readonly n: string;
  readonly e: string;
}

/** A new key: its public half, and its private half (PKCS#8) sealed under the seal key of its version. */
export interface NewRsaKey {
  readonly bits: number;
  readonly publicJwk: RsaPublicJwk;
  readonly sealedPrivateKey: Uint8Array;
}

/** The order of a new key. */
export interface NewKeyOrder {
  /** `tenants/<t>`: tenants take turns. */
  readonly tenant: string;
  /** Aborted when the caller gives up; then a key that was not started is not made. */
  readonly signal?: AbortSignal;
}

/** A key to import: a private JWK (RFC 7518, section 6.3) or an unencrypted PEM (PKCS#8 or PKCS#1). */
export type RsaImport =
  | { readonly format: 'jwk'; readonly jwk: Readonly<Record<string, unknown>> }
  | { readonly format: 'pem'; readonly pem: string };

/** A key version in use. */
export interface RsaKey {
  /** The full name of the key version. The seal is bound to it. */
  readonly version: string;
  /** `tenants/<t>` of its vault: its jobs take turns with those of other tenants. */
  readonly tenant: string;
  readonly publicJwk: RsaPublicJwk;
  /** Called only when a thread does not hold the key yet. */
  sealedPrivateKey(): Promise<Uint8Array>;
}

/** A value to encrypt or decrypt; the caller overwrites it. `urgent` jobs have a queue of their own that is served first. */
export interface CipherJob {
  readonly algorithm: string;
  readonly value: Uint8Array;
  readonly urgent?: boolean;
}

/** A wrapped value to move from one key to another without revealing it. */
export interface RewrapJob {
  readonly sourceAlgorithm: string;
  readonly targetAlgorithm: string;
  readonly value: Uint8Array;
  readonly urgent?: boolean;
}

/** A digest to sign: 32, 48 or 64 bytes by algorithm (KV-32). */
export interface SignJob {
  readonly algorithm: string;
  readonly digest: Uint8Array;
}

/** A signature to compare with a digest. */
export interface VerifyJob extends SignJob {
  readonly signature: Uint8Array;
}

/**
 * RSA as the vault uses it. The caller has decided whether the version may be used (state, dates, grants, key_ops).
 * Private keys go in and come out sealed: no code on this side of the interface holds one in plain text.
 *
 * Every call may reject with Rejection: INVALID_ARGUMENT (ALGORITHM_UNSUPPORTED, ALGORITHM_DISABLED, PLAINTEXT_TOO_LONG,
 * BAD_CIPHERTEXT_LENGTH, BAD_CIPHERTEXT, BAD_DIGEST_LENGTH, KEY_SIZE_UNSUPPORTED), UNAVAILABLE (RSA_WORKER_LOST,
 * RSA_CLOSED), RESOURCE_EXHAUSTED (THROTTLED: too many jobs wait), ABORTED (CALLER_GONE, KEY_EVICTED), and with the
 * rejections of `Sealing` (KEY_PURGED, …).
 */
export interface RsaEngine {
  /** Makes a key and seals it under a seal key of `version`. Tenants take turns. */
  generate(version: string, bits: number, order: NewKeyOrder): Promise<NewRsaKey>;
  /**
   * Checks and seals an existing key (KV-21); it waits in the queue of new keys too.
   * @throws Rejection INVALID_ARGUMENT: NOT_AN_RSA_KEY, PRIVATE_PART_MISSING, KEY_MALFORMED, KEY_WEAK, PEM_ENCRYPTED
   */
  import(version: string, material: RsaImport, order: NewKeyOrder): Promise<NewRsaKey>;
  encrypt(key: RsaKey, job: CipherJob): Promise<Uint8Array>;
  decrypt(key: RsaKey, job: CipherJob): Promise<Uint8Array>;
  /** For RSA the same as `encrypt`; a permission of its own (KV-31). */
  wrap(key: RsaKey, job: CipherJob): Promise<Uint8Array>;
  /** For RSA the same as `decrypt`; a permission of its own (KV-31). The caller overwrites the result. */
  unwrap(key: RsaKey, job: CipherJob): Promise<Uint8Array>;
  /** Unwraps with `source` and wraps with `target` in one step; the plain value stays inside the engine. Rule CMK-15. */
  rewrap(source: RsaKey, target: RsaKey, job: RewrapJob): Promise<Uint8Array>;
  sign(key: RsaKey, job: SignJob): Promise<Uint8Array>;
  verify(key: RsaKey, job: VerifyJob): Promise<boolean>;
  /**
   * Forgets the private key of a version (disabled, purged). When it resolves, no earlier job uses the key: jobs that had
   * started have ended, the others are refused with ABORTED KEY_EVICTED, so that the vault decides about them again.
   */
  evict(version: string): Promise<void>;
  /** Finishes the jobs in progress, refuses new jobs and keys that wait to be made, and forgets every key. */
  close(): Promise<void>;
}

/** Bytes the padding takes from the modulus. Rule KV-42. */
const paddingOverhead: Readonly<Record<string, number>> = { 'RSA-OAEP-256': 66, 'RSA-OAEP': 42, RSA1_5: 11 };

/** Digest of each signature algorithm: its name in OpenSSL and its length in bytes. Rule KV-41. */
const signatureDigests: Readonly<Record<string, { readonly hash: string; readonly length: number }>> = {
  RS256: { hash: 'sha256', length: 32 },
  RS384: { hash: 'sha384', length: 48 },
  RS512: { hash: 'sha512', length: 64 },
  PS256: { hash: 'sha256', length: 32 },
  PS384: { hash: 'sha384', length: 48 },
  PS512: { hash: 'sha512', length: 64 },
};

const refuse = (reason: string, message: string, metadata: Record<string, string>) =>
  new Rejection('INVALID_ARGUMENT', reason, message, metadata);

/** Length of the modulus in bytes: also the length of every ciphertext and signature of the key. */
export const modulusLength = (jwk: RsaPublicJwk): number => Math.floor((jwk.n.length * 3) / 4);

/** @throws Rejection KEY_SIZE_UNSUPPORTED unless `bits` is one of `rsaSizes`. Rules CMK-20, KV-93. */
export function checkSize(bits: number, field = 'key_size_bits'): void {
  if (rsaSizes.some((size) => size === bits)) return;
  throw refuse('KEY_SIZE_UNSUPPORTED', `${field} is ${bits} bits; it must be one of ${rsaSizes.join(', ')}`, {
    field,
    key_size: String(bits),
  });
}

/**
 * @returns the most bytes the algorithm encrypts under a modulus of `modulus` bytes. Rule KV-42.
 * @throws Rejection ALGORITHM_UNSUPPORTED, or ALGORITHM_DISABLED for RSA1_5 unless `legacyPadding` (rule KV-40).
 */
export function plaintextLimit(algorithm: string, modulus: number, legacyPadding: boolean): number {
  const overhead = Object.hasOwn(paddingOverhead, algorithm) ? paddingOverhead[algorithm] : undefined;
  if (overhead === undefined) {
    throw refuse('ALGORITHM_UNSUPPORTED', `alg is "${algorithm}"; it must be RSA-OAEP-256, RSA-OAEP or RSA1_5`, {
      alg: algorithm,
    });
  }
  if (algorithm === 'RSA1_5' && !legacyPadding) {
    throw refuse('ALGORITHM_DISABLED', 'alg RSA1_5 is turned off (LEGACY_PADDING); use RSA-OAEP-256', {
      alg: algorithm,
    });
  }
  return modulus - overhead;
}

/** @throws Rejection PLAINTEXT_TOO_LONG, and as `plaintextLimit`. */
export function checkPlaintext(job: CipherJob, modulus: number, legacyPadding: boolean): void {
  const limit = plaintextLimit(job.algorithm, modulus, legacyPadding);
  if (job.value.length <= limit) return;
  const length = String(job.value.length);
  throw refuse(
    'PLAINTEXT_TOO_LONG',
    `value is ${length} bytes; ${job.algorithm} takes at most ${limit} under this key`,
    { alg: job.algorithm, length, limit: String(limit) },
  );
}

/** @throws Rejection BAD_CIPHERTEXT_LENGTH, and as `plaintextLimit`. */
export function checkCiphertext(job: CipherJob, modulus: number, legacyPadding: boolean): void {
  plaintextLimit(job.algorithm, modulus, legacyPadding);
  if (job.value.length === modulus) return;
  const length = String(job.value.length);
  throw refuse('BAD_CIPHERTEXT_LENGTH', `value is ${length} bytes; a ciphertext of this key has ${modulus}`, {
    length,
    expected: String(modulus),
  });
}

/**
 * @returns the digest the algorithm signs.
 * @throws Rejection ALGORITHM_UNSUPPORTED, BAD_DIGEST_LENGTH. Rule KV-32.
 */
export function checkDigest(job: SignJob): { readonly hash: string; readonly length: number } {
  const digest = Object.hasOwn(signatureDigests, job.algorithm) ? signatureDigests[job.algorithm] : undefined;
  if (!digest) {
    throw refuse('ALGORITHM_UNSUPPORTED', `alg is "${job.algorithm}"; it must be RS256/384/512 or PS256/384/512`, {
      alg: job.algorithm,
    });
  }
  if (job.digest.length !== digest.length) {
    const length = String(job.digest.length);
    throw refuse('BAD_DIGEST_LENGTH', `digest is ${length} bytes; ${job.algorithm} signs ${digest.length}`, {
      alg: job.algorithm,
      length,
      expected: String(digest.length),
    });
  }
  return digest;
}

/** The refusal of a job that was not started when the engine closed, or came later. */
export const rsaClosed = (): Rejection =>
  new Rejection('UNAVAILABLE', 'RSA_CLOSED', 'this vault is shutting down; call another replica');

/** The refusal of a job whose key was evicted before it started: the vault must decide again whether the key may be used. */
export const keyEvicted = (version: string): Rejection =>
  new Rejection('ABORTED', 'KEY_EVICTED', `${version} was evicted before this job started; repeat the call`, {
    version,
  });

/** The one refusal of a ciphertext that was changed, or is of another key or algorithm (KV-42). */
export const badCiphertext = (algorithm: string): Rejection =>
  refuse('BAD_CIPHERTEXT', `value must be an unchanged ${algorithm} ciphertext of this key version`, {
    alg: algorithm,
  });
