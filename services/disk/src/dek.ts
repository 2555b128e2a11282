import { createHmac, timingSafeEqual } from 'node:crypto';
import { openXts, type SectorCipher } from './xts.ts';
import type { XtsMask } from './xts-mask.ts';

/** Length of a data encryption key: the AES-256 key of the rules, 32 random bytes. Rule CMK-12. */
export const dekLength = 32;

/** Length of a key check value in bytes. */
export const keyCheckLength = 16;

/**
 * Purposes a DEK is used for. Each has a key of its own, derived with HKDF-SHA256 (no salt: a DEK is uniform), so that
 * what one tells says nothing about another. These strings are part of the format of every disk.
 */
const purposes = {
  data: 'interlock disk v1: XTS data key',
  tweak: 'interlock disk v1: XTS tweak key',
  check: 'interlock disk v1: key check value',
} as const;

/**
 * Bytes for a secret, zeros at first. Small arrays of the ordinary kind lie among the objects of the runtime, which copies
 * those from place to place and leaves the old copies; these stay where they are, so overwriting them overwrites all there is.
 */
export const secretBytes = (length: number): Uint8Array<ArrayBuffer> => new Uint8Array(new ArrayBuffer(length));

const hmac = (key: Uint8Array, ...parts: readonly (Uint8Array | string)[]): Buffer =>
  parts.reduce((running, part) => running.update(part), createHmac('sha256', key)).digest();

/**
 * HKDF-SHA256 in its two steps, for at most one block. Not `hkdfSync`: that keeps the DEK in a key object of its own until
 * the runtime collects it. The caller clears what it gets.
 */
const derive = (dek: Uint8Array, purpose: keyof typeof purposes, length: number): Uint8Array => {
  const pseudorandom = hmac(noSalt, dek);
  const block = hmac(pseudorandom, purposes[purpose], oneBlock);
  try {
    const derived = secretBytes(length);
    derived.set(block.subarray(0, length));
    return derived;
  } finally {
    pseudorandom.fill(0);
    block.fill(0);
  }
};

/** No salt is a hash of zeros; the last byte of what is hashed counts the blocks (RFC 5869). */
const noSalt = new Uint8Array(32);
const oneBlock = Uint8Array.of(1);

/** Opens the cipher of a disk. The caller clears `dek`; what is derived from it is cleared here. Rules CMK-08, CMK-12. */
export function openDiskCipher(dek: Uint8Array, mask: XtsMask | undefined): SectorCipher {
  const dataKey = derive(dek, 'data', dekLength);
  const tweakKey = derive(dek, 'tweak', dekLength);
  const key = secretBytes(2 * dekLength);
  key.set(dataKey);
  key.set(tweakKey, dekLength);
  try {
    return openXts(key, mask);
  } finally {
    for (const buffer of [dataKey, tweakKey, key]) buffer.fill(0);
  }
}

/** A value that tells whether a DEK is the right one, and nothing about the DEK. It stands in the header. */
export const keyCheckValue = (dek: Uint8Array): Uint8Array => derive(dek, 'check', keyCheckLength);

/** Whether `dek` is the DEK that `check` was made from. */
export const matchesKeyCheck = (dek: Uint8Array, check: Uint8Array): boolean =>
  check.length === keyCheckLength && timingSafeEqual(keyCheckValue(dek), check);
