import { createCipheriv, createDecipheriv, type KeyObject } from 'node:crypto';

const sealFormat = 1;
/** Bytes of a nonce: what GCM is defined for (NIST SP 800-38D). */
export const nonceLength = 12;
const tagLength = 16;
const overhead = 1 + nonceLength + tagLength;

/**
 * Seals bytes with AES-256-GCM: format (1 byte) ‖ nonce (12) ‖ tag (16) ‖ ciphertext. The caller clears `plaintext`.
 * @param nonce 12 bytes never used before with this key
 * @param purpose what is sealed, by full name; the same text is needed to open, so a blob is of no use under another name
 */
export function seal(key: KeyObject, nonce: Uint8Array, purpose: string, plaintext: Uint8Array): Uint8Array {
  const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: tagLength });
  cipher.setAAD(Buffer.from(purpose));
  const body = Buffer.concat([cipher.update(plaintext), cipher.final()]);
  return Buffer.concat([Buffer.of(sealFormat), nonce, cipher.getAuthTag(), body]);
}

/** @returns the plaintext in a buffer of its own, which the caller clears, or undefined when the blob was changed or has another purpose */
export function unseal(key: KeyObject, purpose: string, sealed: Uint8Array): Uint8Array<ArrayBuffer> | undefined {
  if (sealed.length < overhead || sealed[0] !== sealFormat) return undefined;
  const nonce = sealed.subarray(1, 1 + nonceLength);
  const decipher = createDecipheriv('aes-256-gcm', key, nonce, { authTagLength: tagLength });
  decipher.setAAD(Buffer.from(purpose));
  decipher.setAuthTag(sealed.subarray(1 + nonceLength, overhead));
  const plaintext = decipher.update(sealed.subarray(overhead));
  try {
    decipher.final();
    return Uint8Array.from(plaintext);
  } catch {
    // GCM says only that the tag does not fit; callers turn that into the rejection of what they were opening.
    return undefined;
  } finally {
    plaintext.fill(0);
  }
}
