import { hash, timingSafeEqual } from 'node:crypto';
import { destroyedCipher, openXts, type SectorCipher, type SectorRun, xtsKeyLength } from './xts.ts';
import type { XtsMask } from './xts-mask.ts';

/** What a DEK is made for. Both are UUIDs in their usual form. */
export interface DekOwner {
  readonly dekId: string;
  readonly diskId: string;
}

/** Length of a data encryption key: the AES-256 key of the rules, 32 random bytes. Rule CMK-12. */
export const dekLength = 32;

/**
 * Purposes a DEK is used for. Each has a key of its own, derived with HKDF-SHA256 (no salt: a DEK is uniform), so that
 * what one reveals says nothing about another. These strings are part of the format of every disk.
 */
const purposes = {
  data: 'interlock disk v1: XTS data key',
  tweak: 'interlock disk v1: XTS tweak key',
  authenticator: 'interlock disk v1: DEK authenticator',
} as const;

/**
 * Bytes for a secret, zeros at first. The runtime moves small ordinary arrays and leaves the old copies in memory. These bytes
 * stay in place, so overwriting them leaves no copy.
 */
export const secretBytes = (length: number): Uint8Array<ArrayBuffer> => new Uint8Array(new ArrayBuffer(length));

/** Bytes that SHA-256 works on at once. */
const blockLength = 64;

/**
 * HMAC-SHA256 (RFC 2104) by two hashes, for keys of at most a block. Not `createHmac`: that takes five to ten times as long,
 * nearly all of it to make a key object, which keeps the key until the runtime collects it. The caller clears the result.
 */
const hmac = (key: Uint8Array, message: Uint8Array): Buffer => {
  const inner = secretBytes(blockLength + message.length);
  const outer = secretBytes(blockLength + hashLength);
  try {
    inner.set(key);
    outer.set(key);
    for (let at = 0; at < blockLength; at += 1) {
      inner[at] = (inner[at] ?? 0) ^ 0x36;
      outer[at] = (outer[at] ?? 0) ^ 0x5c;
    }
    inner.set(message, blockLength);
    const digest = hash('sha256', inner, 'buffer');
    outer.set(digest, blockLength);
    digest.fill(0);
    return hash('sha256', outer, 'buffer');
  } finally {
    inner.fill(0);
    outer.fill(0);
  }
};
const hashLength = 32;

/**
 * First step of HKDF-SHA256 (RFC 5869); its result is overwritten when `use` returns. Not `hkdfSync`: that keeps the DEK in a
 * key object of its own until the runtime collects it.
 */
const extracted = <Result>(dek: Uint8Array, use: (pseudorandom: Uint8Array) => Result): Result => {
  const pseudorandom = hmac(noSalt, dek);
  try {
    return use(pseudorandom);
  } finally {
    pseudorandom.fill(0);
  }
};

/** Second step, for at most one block. The caller clears the result. */
const expanded = (pseudorandom: Uint8Array, info: Uint8Array): Uint8Array => {
  const block = hmac(pseudorandom, info);
  const derived = secretBytes(hashLength);
  derived.set(block);
  block.fill(0);
  return derived;
};

/** No salt is a hash of zeros. */
const noSalt = new Uint8Array(hashLength);
/** Each purpose with the number of its block: there is one. */
const infoOf = (purpose: string): Uint8Array => Buffer.concat([Buffer.from(purpose), Uint8Array.of(1)]);
const infos = { data: infoOf(purposes.data), tweak: infoOf(purposes.tweak) };

/**
 * Opens the cipher of a disk. The caller clears `dek`. It is made with its first use: a fleet that starts opens many disks
 * without reading them, and making a cipher takes as long as opening the disk. Until then a copy of the DEK is kept, which is
 * overwritten when the cipher is made or destroyed. Rules CMK-08, CMK-12.
 */
export function openDiskCipher(dek: Uint8Array, mask: XtsMask | undefined): SectorCipher {
  return new DiskCipher(dek, mask);
}

/** A class: there is one for each open disk (see `FileBlockStore`). */
class DiskCipher implements SectorCipher {
  readonly #kept: Uint8Array;
  readonly #mask: XtsMask | undefined;
  #made: SectorCipher | undefined;

  constructor(dek: Uint8Array, mask: XtsMask | undefined) {
    this.#kept = secretBytes(dek.length);
    this.#kept.set(dek);
    this.#mask = mask;
  }

  encrypt(sector: number, source: Uint8Array, target: Uint8Array): void {
    this.#cipher().encrypt(sector, source, target);
  }
  decrypt(sector: number, source: Uint8Array, target: Uint8Array): void {
    this.#cipher().decrypt(sector, source, target);
  }
  encryptAll(runs: readonly SectorRun[]): void {
    this.#cipher().encryptAll(runs);
  }
  decryptAll(runs: readonly SectorRun[]): void {
    this.#cipher().decryptAll(runs);
  }
  destroy(): void {
    this.#kept.fill(0);
    this.#made ??= destroyedCipher;
    this.#made.destroy();
  }

  #cipher(): SectorCipher {
    this.#made ??= makeDiskCipher(this.#kept, this.#mask);
    this.#kept.fill(0);
    return this.#made;
  }
}

/** What is derived from the DEK is cleared here. */
function makeDiskCipher(dek: Uint8Array, mask: XtsMask | undefined): SectorCipher {
  const halves = extracted(dek, (pseudorandom) =>
    [infos.data, infos.tweak].map((info) => expanded(pseudorandom, info)),
  );
  const key = secretBytes(xtsKeyLength);
  for (const [n, half] of halves.entries()) key.set(half, n * dekLength);
  try {
    return openXts(key, mask);
  } finally {
    for (const buffer of [...halves, key]) buffer.fill(0);
  }
}

/**
 * Shows whether a DEK is that of a disk, and nothing else about it: 32 bytes derived from the DEK and its owner, base64url. It is
 * stored in the events and not with the disk: a DEK that an attacker wrapped to the customer's key has another one. Rule CMK-12.
 */
export const dekAuthenticator = (dek: Uint8Array, { dekId, diskId }: DekOwner): string =>
  extracted(dek, (pseudorandom) => {
    const bytes = expanded(pseudorandom, infoOf(`${purposes.authenticator}\0${dekId}\0${diskId}`));
    const text = Buffer.from(bytes.buffer).toString('base64url');
    bytes.fill(0);
    return text;
  });

/** Whether `dek` is the DEK that `authenticator` was made from, for the same owner. Takes the same time for every wrong DEK. */
export const matchesDekAuthenticator = (dek: Uint8Array, owner: DekOwner, authenticator: string): boolean => {
  const [actual, expected] = [Buffer.from(dekAuthenticator(dek, owner)), Buffer.from(authenticator)];
  return actual.length === expected.length && timingSafeEqual(actual, expected);
};
