import { hkdfSync, timingSafeEqual } from 'node:crypto';
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

const derive = (dek: Uint8Array, purpose: keyof typeof purposes, length: number) =>
  new Uint8Array(hkdfSync('sha256', dek, new Uint8Array(0), purposes[purpose], length));

/** Opens the cipher of a disk. The caller clears `dek`; what is derived from it is cleared here. Rules CMK-08, CMK-12. */
export function openDiskCipher(dek: Uint8Array, mask: XtsMask | undefined): SectorCipher {
  const dataKey = derive(dek, 'data', dekLength);
  const tweakKey = derive(dek, 'tweak', dekLength);
  const key = new Uint8Array([...dataKey, ...tweakKey]);
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
