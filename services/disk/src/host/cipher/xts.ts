import { type Cipheriv, createCipheriv, createDecipheriv, createSecretKey, type Decipheriv } from 'node:crypto';
import { Rejection } from '@interlock/event-store';
import { sectorSize } from '../storage/sector.ts';
import { maskSize, type XtsMask } from './xts-mask.ts';

/**
 * AES-256-XTS (IEEE 1619) over sectors of 4 KiB, the tweak being the sector's number as 128 bits little-endian: what
 * dm-crypt calls aes-xts-plain64 with 4 KiB sectors. It keeps length and order, and hides content; it does not detect
 * changes.
 */
export interface SectorCipher {
  /** Encrypts whole sectors from `source` into `target` (as long; may be the same). `sector`: number of the first. */
  encrypt(sector: number, source: Uint8Array, target: Uint8Array): void;
  /** Decrypts whole sectors from `source` into `target` (as long; may be the same). */
  decrypt(sector: number, source: Uint8Array, target: Uint8Array): void;
  /** Ends all use of the key: later calls are refused with DEK_DROPPED. */
  destroy(): void;
}

/** Length of an XTS key: one AES-256 key for the data, then one for the tweak. */
export const xtsKeyLength = 64;

/**
 * Opens a cipher. With a mask (which all ciphers of a thread may share) long runs go through one reused AES-ECB context;
 * without, each sector through OpenSSL's own XTS, with the same result.
 *
 * On `destroy` OpenSSL frees and overwrites the contexts of the fast way at once. The OpenSSL way holds a key object,
 * which the runtime overwrites when it is collected: a stated limit (guarantee G8).
 * @param key 64 bytes; the caller clears them. The halves must differ.
 */
export function openXts(key: Uint8Array, mask: XtsMask | undefined): SectorCipher {
  const [dataKey, tweakKey] = [key.subarray(0, xtsKeyLength / 2), key.subarray(xtsKeyLength / 2)];
  if (key.length !== xtsKeyLength || Buffer.compare(dataKey, tweakKey) === 0) {
    throw new Error('an XTS key is two different AES-256 keys');
  }
  return guarded(mask ? maskedXts(dataKey, tweakKey, mask) : opensslXts(key));
}

/** Refuses wrong lengths, and everything after `destroy`. */
function guarded(cipher: SectorCipher): SectorCipher {
  let isDestroyed = false;
  const checked = (run: SectorCipher['encrypt']) => (sector: number, source: Uint8Array, target: Uint8Array) => {
    if (isDestroyed) throw dropped();
    if (source.length !== target.length || source.length % sectorSize !== 0) {
      throw new Error(
        `source and target must be equally many whole sectors, not ${source.length} and ${target.length}`,
      );
    }
    run(sector, source, target);
  };
  return {
    encrypt: checked(cipher.encrypt),
    decrypt: checked(cipher.decrypt),
    destroy() {
      if (!isDestroyed) cipher.destroy();
      isDestroyed = true;
    },
  };
}

const dropped = (): Rejection =>
  new Rejection('FAILED_PRECONDITION', 'DEK_DROPPED', 'the key of this disk was dropped; it must be unwrapped');

/** What is left of a cipher that was never used. */
export const destroyedCipher: SectorCipher = {
  encrypt() {
    throw dropped();
  },
  decrypt() {
    throw dropped();
  },
  destroy() {},
};

function maskedXts(dataKey: Uint8Array, tweakKey: Uint8Array, mask: XtsMask): SectorCipher {
  const ecb = 'aes-256-ecb';
  // The bytes, not key objects: those would keep the keys until the runtime collects them.
  const encipher = createCipheriv(ecb, dataKey, null).setAutoPadding(false);
  const decipher = createDecipheriv(ecb, dataKey, null).setAutoPadding(false);
  const tweaker = createCipheriv(ecb, tweakKey, null).setAutoPadding(false);

  const transform = (through: Cipheriv | Decipheriv, sector: number, source: Uint8Array, target: Uint8Array) => {
    for (let from = 0; from < source.length; from += maskSize) {
      const to = Math.min(from + maskSize, source.length);
      const sectors = (to - from) / sectorSize;
      const data = mask.data.subarray(0, to - from);
      mask.tweaks.set(tweaker.update(sectorNumbers(sector + from / sectorSize, sectors)));
      data.set(source.subarray(from, to));
      mask.apply(sectors);
      const turned = through.update(data);
      data.set(turned);
      // Frees the memory now: left to the garbage collector, it would run for every few pieces.
      turned.buffer.transfer(0);
      mask.apply(sectors);
      target.set(data, from);
    }
  };
  return {
    encrypt: (sector, source, target) => transform(encipher, sector, source, target),
    decrypt: (sector, source, target) => transform(decipher, sector, source, target),
    destroy() {
      // `final` frees the context, and OpenSSL overwrites a key schedule when it frees it.
      for (const context of [encipher, decipher, tweaker]) context.final();
      mask.data.fill(0);
      mask.tweaks.fill(0);
    },
  };
}

function opensslXts(key: Uint8Array): SectorCipher {
  const xts = 'aes-256-xts';
  let keyObject: ReturnType<typeof createSecretKey> | undefined = createSecretKey(key);
  const transform = (
    create: typeof createCipheriv | typeof createDecipheriv,
    sector: number,
    source: Uint8Array,
    target: Uint8Array,
  ) => {
    if (!keyObject) throw new Error('a destroyed cipher was used');
    const numbers = sectorNumbers(sector, source.length / sectorSize);
    for (let from = 0; from < source.length; from += sectorSize) {
      const tweakAt = (from / sectorSize) * 16;
      const context = create(xts, keyObject, numbers.subarray(tweakAt, tweakAt + 16));
      target.set(context.update(source.subarray(from, from + sectorSize)), from);
      context.final();
    }
  };
  return {
    encrypt: (sector, source, target) => transform(createCipheriv, sector, source, target),
    decrypt: (sector, source, target) => transform(createDecipheriv, sector, source, target),
    destroy() {
      keyObject = undefined;
    },
  };
}

/** `count` sector numbers from `first` on, each as 128 bits little-endian. A number needs at most 53 bits. */
function sectorNumbers(first: number, count: number): Uint8Array {
  const bytes = new Uint8Array(count * 16);
  const view = new DataView(bytes.buffer);
  for (let index = 0; index < count; index += 1) {
    // `>>> 0` is the number modulo 2^32, also of one above it.
    view.setUint32(index * 16, (first + index) >>> 0, true);
    view.setUint32(index * 16 + 4, Math.floor((first + index) / 0x1_0000_0000), true);
  }
  return bytes;
}
