import { createCipheriv, createDecipheriv, type KeyObject } from 'node:crypto';

const sealFormat = 1;
/** Bytes of a nonce, as NIST SP 800-38D recommends for GCM. */
export const nonceLength = 12;
const tagLength = 16;
const overhead = 1 + nonceLength + tagLength;

/**
 * Seals bytes with AES-256-GCM: format (1 byte) ‖ nonce (12) ‖ tag (16) ‖ ciphertext. The caller clears `plaintext`.
 * @param nonce 12 bytes never used before with this key
 * @param purpose full name of what is sealed; opening needs the same text, so a blob cannot be used under another name
 */
export function seal(key: KeyObject, nonce: Uint8Array, purpose: string, plaintext: Uint8Array): Uint8Array {
  const cipher = createCipheriv('aes-256-gcm', key, nonce, { authTagLength: tagLength });
  cipher.setAAD(Buffer.from(purpose));
  const body = Buffer.concat([cipher.update(plaintext), cipher.final()]);
  return Buffer.concat([Buffer.of(sealFormat), nonce, cipher.getAuthTag(), body]);
}

/** @returns the plaintext in its own buffer, which the caller clears; undefined if the blob was changed or has another purpose */
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
    // GCM only reports that the tag does not match; callers turn that into their own rejection.
    return undefined;
  } finally {
    plaintext.fill(0);
  }
}
