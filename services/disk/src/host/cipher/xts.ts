import { type Cipheriv, createCipheriv, createDecipheriv, createSecretKey, type Decipheriv } from 'node:crypto';
import { Rejection } from '@interlock/event-store/rejection';
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
  /** As `encrypt`, of several runs of sectors: for many short runs it takes a third of the time. */
  encryptAll(runs: readonly SectorRun[]): void;
  /** As `decrypt`, of several runs of sectors. */
  decryptAll(runs: readonly SectorRun[]): void;
  /** Ends all use of the key: later calls are refused with DEK_DROPPED. */
  destroy(): void;
}

/** A run of whole sectors, and its target. */
export interface SectorRun {
  /** Number of the first. */
  readonly sector: number;
  readonly source: Uint8Array;
  /** As long as `source`; may be the same. */
  readonly target: Uint8Array;
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

/** What makes a cipher: both directions, over any number of runs. */
type Transforms = Pick<SectorCipher, 'encryptAll' | 'decryptAll' | 'destroy'>;

/** Refuses wrong lengths, and everything after `destroy`. */
function guarded(cipher: Transforms): SectorCipher {
  let isDestroyed = false;
  const checked = (run: SectorCipher['encryptAll']) => (runs: readonly SectorRun[]) => {
    if (isDestroyed) throw dropped();
    for (const { source, target } of runs) {
      if (source.length === target.length && source.length % sectorSize === 0) continue;
      throw new Error(
        `source and target must be equally many whole sectors, not ${source.length} and ${target.length}`,
      );
    }
    run(runs);
  };
  const [encryptAll, decryptAll] = [checked(cipher.encryptAll), checked(cipher.decryptAll)];
  return {
    encryptAll,
    decryptAll,
    encrypt: (sector, source, target) => encryptAll([{ sector, source, target }]),
    decrypt: (sector, source, target) => decryptAll([{ sector, source, target }]),
    destroy() {
      if (!isDestroyed) cipher.destroy();
      isDestroyed = true;
    },
  };
}

const dropped = (): Rejection =>
  new Rejection('FAILED_PRECONDITION', 'DEK_DROPPED', 'the key of this disk was dropped; it must be unwrapped');

/** A destroyed cipher that was never used. */
export const destroyedCipher: SectorCipher = guarded({ encryptAll() {}, decryptAll() {}, destroy() {} });
destroyedCipher.destroy();

function maskedXts(dataKey: Uint8Array, tweakKey: Uint8Array, mask: XtsMask): Transforms {
  const ecb = 'aes-256-ecb';
  // The bytes, not key objects: those would keep the keys until the runtime collects them.
  const encipher = createCipheriv(ecb, dataKey, null).setAutoPadding(false);
  const decipher = createDecipheriv(ecb, dataKey, null).setAutoPadding(false);
  const tweaker = createCipheriv(ecb, tweakKey, null).setAutoPadding(false);

  /** Transforms the sectors of a window, which lie in the mask's memory one after another. */
  const transformWindow = (through: Cipheriv | Decipheriv, numbers: Uint8Array): void => {
    const sectors = numbers.length / 16;
    mask.tweaks.set(tweaker.update(numbers));
    mask.apply(sectors);
    const data = mask.data.subarray(0, sectors * sectorSize);
    const turned = through.update(data);
    data.set(turned);
    // Frees the memory now: left to the garbage collector, it would run for every few pieces.
    turned.buffer.transfer(0);
    mask.apply(sectors);
  };
  const transform = (through: Cipheriv | Decipheriv, runs: readonly SectorRun[]): void => {
    for (const window of windows(runs)) {
      let at = 0;
      for (const { source } of window) {
        mask.data.set(source, at);
        at += source.length;
      }
      transformWindow(through, sectorNumbers(window));
      at = 0;
      for (const { target } of window) {
        target.set(mask.data.subarray(at, at + target.length));
        at += target.length;
      }
    }
  };
  return {
    encryptAll: (runs) => transform(encipher, runs),
    decryptAll: (runs) => transform(decipher, runs),
    destroy() {
      // `final` frees the context, and OpenSSL overwrites a key schedule when it frees it.
      for (const context of [encipher, decipher, tweaker]) context.final();
      mask.data.fill(0);
      mask.tweaks.fill(0);
    },
  };
}

function opensslXts(key: Uint8Array): Transforms {
  const xts = 'aes-256-xts';
  let keyObject: ReturnType<typeof createSecretKey> | undefined = createSecretKey(key);
  const transform = (create: typeof createCipheriv | typeof createDecipheriv, runs: readonly SectorRun[]) => {
    if (!keyObject) throw new Error('a destroyed cipher was used');
    for (const run of runs) {
      const numbers = sectorNumbers([run]);
      for (let from = 0; from < run.source.length; from += sectorSize) {
        const tweakAt = (from / sectorSize) * 16;
        const context = create(xts, keyObject, numbers.subarray(tweakAt, tweakAt + 16));
        run.target.set(context.update(run.source.subarray(from, from + sectorSize)), from);
        context.final();
      }
    }
  };
  return {
    encryptAll: (runs) => transform(createCipheriv, runs),
    decryptAll: (runs) => transform(createDecipheriv, runs),
    destroy() {
      keyObject = undefined;
    },
  };
}

/** Runs of at most `maskSize` bytes together; a longer run is cut. */
function* windows(runs: readonly SectorRun[]): Generator<readonly SectorRun[]> {
  let window: SectorRun[] = [];
  let bytes = 0;
  for (const run of runs) {
    for (let from = 0; from < run.source.length; ) {
      const to = Math.min(run.source.length, from + maskSize - bytes);
      window.push(from === 0 && to === run.source.length ? run : partOf(run, from, to));
      bytes += to - from;
      from = to;
      if (bytes < maskSize) continue;
      yield window;
      window = [];
      bytes = 0;
    }
  }
  if (bytes > 0) yield window;
}

const partOf = ({ sector, source, target }: SectorRun, from: number, to: number): SectorRun => ({
  sector: sector + from / sectorSize,
  source: source.subarray(from, to),
  target: target.subarray(from, to),
});

/** The number of each sector as 128 bits little-endian. A number needs at most 53 bits. */
function sectorNumbers(runs: readonly SectorRun[]): Uint8Array {
  const count = runs.reduce((sum, { source }) => sum + source.length / sectorSize, 0);
  const bytes = new Uint8Array(count * 16);
  const view = new DataView(bytes.buffer);
  let at = 0;
  for (const { sector, source } of runs) {
    for (let number = sector; number < sector + source.length / sectorSize; number += 1) {
      // `>>> 0` is the number modulo 2^32, also of one above it.
      view.setUint32(at, number >>> 0, true);
      view.setUint32(at + 4, Math.floor(number / 0x1_0000_0000), true);
      at += 16;
    }
  }
  return bytes;
}
