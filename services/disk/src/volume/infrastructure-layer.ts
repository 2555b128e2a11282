import { createCipheriv, createDecipheriv, createSecretKey, hkdfSync } from 'node:crypto';
import { type BlockStore, writesDurably, writtenRuns } from '../block-store.ts';
import { sectorSize } from '../sector.ts';

/** Bytes of the key of one layer: 256 random bits. */
export const layerKeyLength = 32;

/** Purposes the key of a layer is used for; the strings are part of the format of every disk that is encrypted twice. */
const purposes = { data: 'interlock layer v1: CBC data key', iv: 'interlock layer v1: ESSIV key' } as const;

/**
 * The second layer of double encryption, below the one under the customer's key: AES-256-CBC with encrypted salt-sector
 * IVs, so mode and key both differ from the layer above (CMK-70). It takes ciphertext and keeps lengths and holes, so
 * everything above works as without it.
 * @param key `layerKeyLength` bytes; the caller clears them
 */
export const withInfrastructureLayer = (store: BlockStore, key: Uint8Array): BlockStore => {
  const derive = (purpose: keyof typeof purposes) => {
    const bytes = new Uint8Array(hkdfSync('sha256', key, new Uint8Array(0), purposes[purpose], layerKeyLength));
    const derived = createSecretKey(bytes);
    bytes.fill(0);
    return derived;
  };
  const [dataKey, ivKey] = [derive('data'), derive('iv')];
  const ivOf = (sector: number): Buffer => {
    const number = Buffer.alloc(16);
    number.writeBigUInt64LE(BigInt(sector));
    return createCipheriv('aes-256-ecb', ivKey, null).setAutoPadding(false).update(number);
  };
  const each = (
    offset: number,
    bytes: Uint8Array,
    into: Uint8Array,
    change: typeof createCipheriv | typeof createDecipheriv,
  ) => {
    for (let at = 0; at < bytes.length; at += sectorSize) {
      const cipher = change('aes-256-cbc', dataKey, ivOf((offset + at) / sectorSize)).setAutoPadding(false);
      into.set(cipher.update(bytes.subarray(at, at + sectorSize)), at);
    }
  };
  const layered: BlockStore = {
    size: () => store.size(),
    flush: () => store.flush(),
    grow: (size) => store.grow(size),
    allocatedBytes: () => store.allocatedBytes(),
    copyTo: (target, check) => store.copyTo(target, check),
    close: () => store.close(),
    writeDurably: (offset, bytes) => writesDurably(layered)(offset, bytes),
    async read(offset, into) {
      await store.read(offset, into);
      for (const [from, to] of writtenRuns(into)) {
        const run = into.subarray(from, to);
        each(offset + from, run, run, createDecipheriv);
      }
    },
    async write(offset, bytes) {
      const sealed = new Uint8Array(bytes.length);
      for (const [from, to] of writtenRuns(bytes)) {
        each(offset + from, bytes.subarray(from, to), sealed.subarray(from, to), createCipheriv);
      }
      await store.write(offset, sealed);
    },
  };
  return layered;
};
