import {
  constants,
  createPrivateKey,
  createPublicKey,
  type KeyObject,
  privateDecrypt,
  privateEncrypt,
  publicDecrypt,
  publicEncrypt,
  randomBytes,
} from 'node:crypto';
import { digestInfo, encodePss, matchesPss, pkcs1Message } from './padding.ts';
import { badCiphertext, type RsaPublicJwk } from './rsa.ts';

/** An operation on a value. The pool has checked lengths and algorithms. */
export type RsaWork =
  | { readonly operation: 'encrypt'; readonly publicKey: PublicKeyRef; readonly algorithm: string }
  | { readonly operation: 'decrypt'; readonly version: string; readonly algorithm: string }
  | {
      readonly operation: 'rewrap';
      readonly version: string;
      readonly algorithm: string;
      readonly publicKey: PublicKeyRef;
      readonly targetAlgorithm: string;
      readonly targetLimit: number;
    }
  | { readonly operation: 'sign'; readonly version: string; readonly algorithm: string; readonly hash: string }
  | {
      readonly operation: 'verify';
      readonly publicKey: PublicKeyRef;
      readonly algorithm: string;
      readonly hash: string;
      readonly signature: Uint8Array;
    };

/** An operation and its value. */
export interface RsaJob {
  readonly work: RsaWork;
  readonly value: Uint8Array;
}

/** Whether both are the same operation with the same keys: the key of a version never changes. */
export const isSameWork = (one: RsaWork, other: RsaWork): boolean => {
  if (one.operation !== other.operation || one.algorithm !== other.algorithm || one.operation === 'verify')
    return false;
  const ofPrivate = 'version' in one ? one.version : '';
  const ofPublic = 'publicKey' in one ? one.publicKey.version : '';
  return (
    ofPrivate === ('version' in other ? other.version : '') &&
    ofPublic === ('publicKey' in other ? other.publicKey.version : '') &&
    (one.operation !== 'rewrap' || (other.operation === 'rewrap' && one.targetAlgorithm === other.targetAlgorithm))
  );
};

/** The public half of a version. */
export interface PublicKeyRef {
  readonly version: string;
  readonly jwk: RsaPublicJwk;
}

/** The keys of one thread, parsed once: parsing costs as much as a private operation. */
export interface Keyring {
  addPrivate(version: string, pkcs8: Uint8Array): void;
  privateKey(version: string): KeyObject;
  publicKey(ref: PublicKeyRef): KeyObject;
  forget(version: string): void;
}

/** Public keys a thread keeps parsed; the limit bounds memory. */
const publicKeysMax = 10_000;

/** An empty keyring. The pool decides which private keys it holds, and bounds their number. */
export function createKeyring(): Keyring {
  const privateKeys = new Map<string, KeyObject>();
  const publicKeys = new Map<string, KeyObject>();
  return {
    addPrivate(version, pkcs8) {
      const key = createPrivateKey({
        key: Buffer.from(pkcs8.buffer, pkcs8.byteOffset, pkcs8.byteLength),
        format: 'der',
        type: 'pkcs8',
      });
      privateKeys.set(version, key);
    },
    privateKey(version) {
      const key = privateKeys.get(version);
      if (!key) throw new Error(`the pool sent a job with ${version} without its key`);
      return key;
    },
    publicKey({ version, jwk }) {
      const known = publicKeys.get(version);
      if (known) return known;
      const key = createPublicKey({ key: { ...jwk }, format: 'jwk' });
      for (const oldest of publicKeys.keys()) {
        if (publicKeys.size < publicKeysMax) break;
        publicKeys.delete(oldest);
      }
      publicKeys.set(version, key);
      return key;
    },
    forget(version) {
      privateKeys.delete(version);
      publicKeys.delete(version);
    },
  };
}

/**
 * Does one job on this thread and overwrites its value. @returns the result; of `verify` one byte, 1 for true
 * @throws Rejection BAD_CIPHERTEXT
 */
export function performRsaJob(keyring: Keyring, { work, value }: RsaJob): Uint8Array {
  try {
    switch (work.operation) {
      case 'encrypt':
        return encrypt(keyring.publicKey(work.publicKey), work.algorithm, value);
      case 'decrypt':
        return decrypt(keyring.privateKey(work.version), work.algorithm, value);
      case 'rewrap': {
        const plaintext = decrypt(keyring.privateKey(work.version), work.algorithm, value);
        try {
          // The target cannot encrypt it, so it is no DEK.
          if (plaintext.length > work.targetLimit) throw badCiphertext(work.algorithm);
          return encrypt(keyring.publicKey(work.publicKey), work.targetAlgorithm, plaintext);
        } finally {
          plaintext.fill(0);
        }
      }
      case 'sign':
        return sign(keyring.privateKey(work.version), work.algorithm, work.hash, value);
      case 'verify': {
        const matches = verify(keyring.publicKey(work.publicKey), work.algorithm, work.hash, value, work.signature);
        return Uint8Array.of(matches ? 1 : 0);
      }
    }
  } finally {
    value.fill(0);
  }
}

/** Padding of an encryption algorithm (KV-40). */
function paddingOf(algorithm: string): Padding {
  if (algorithm === 'RSA1_5') return { padding: constants.RSA_PKCS1_PADDING };
  const oaepHash = algorithm === 'RSA-OAEP-256' ? 'sha256' : 'sha1';
  return { padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash };
}

interface Padding {
  readonly padding: number;
  readonly oaepHash?: string;
}

/**
 * A key with the padding of its next operation, as `node:crypto` takes it. Given an object around the key, Node throws and
 * catches two errors before it finds the key, which costs a twentieth of an unwrap. So the padding is set on the key itself.
 */
const padded = (key: KeyObject, { padding, oaepHash }: Padding): KeyObject => Object.assign(key, { padding, oaepHash });

const encrypt = (key: KeyObject, algorithm: string, plaintext: Uint8Array) =>
  publicEncrypt(padded(key, paddingOf(algorithm)), plaintext);

function decrypt(key: KeyObject, algorithm: string, ciphertext: Uint8Array): Uint8Array {
  if (algorithm === 'RSA1_5') {
    const block = openRaw(key, ciphertext);
    const message = block && pkcs1Message(block);
    const plaintext = message && Uint8Array.from(message);
    block?.fill(0);
    if (!plaintext) throw badCiphertext(algorithm);
    return plaintext;
  }
  try {
    return privateDecrypt(padded(key, paddingOf(algorithm)), ciphertext);
  } catch {
    // OpenSSL's message names the step that failed, which callers must not learn.
    throw badCiphertext(algorithm);
  }
}

function openRaw(key: KeyObject, ciphertext: Uint8Array): Uint8Array | undefined {
  try {
    return privateDecrypt(padded(key, { padding: constants.RSA_NO_PADDING }), ciphertext);
  } catch {
    // Raw RSA refuses only a number that is not below the modulus.
    return undefined;
  }
}

function sign(key: KeyObject, algorithm: string, hash: string, digest: Uint8Array): Uint8Array {
  if (algorithm.startsWith('RS')) {
    return privateEncrypt(padded(key, { padding: constants.RSA_PKCS1_PADDING }), digestInfo(hash, digest));
  }
  const modulusBits = key.asymmetricKeyDetails?.modulusLength ?? 0;
  const encoded = encodePss(hash, digest, randomBytes(digest.length), modulusBits / 8);
  return privateEncrypt(padded(key, { padding: constants.RSA_NO_PADDING }), encoded);
}

function verify(key: KeyObject, algorithm: string, hash: string, digest: Uint8Array, signature: Uint8Array): boolean {
  const isPkcs1 = algorithm.startsWith('RS');
  const padding = isPkcs1 ? constants.RSA_PKCS1_PADDING : constants.RSA_NO_PADDING;
  let opened: Uint8Array;
  try {
    opened = publicDecrypt(padded(key, { padding }), signature);
  } catch {
    // Not below the modulus, or not padded as a signature.
    return false;
  }
  return isPkcs1 ? Buffer.compare(opened, digestInfo(hash, digest)) === 0 : matchesPss(hash, digest, opened);
}
