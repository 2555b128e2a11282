import { createCipheriv, createDecipheriv, createSecretKey, hkdfSync } from 'node:crypto';
import { type BlockStore, writesDurably, writtenRuns } from '../storage/block-store.ts';

/** Bytes of the key of one layer: 256 random bits. */
export const layerKeyLength = 32;

/**
 * Bytes of one CBC chain. A torn write keeps or loses whole 512-byte parts of a sector. If parts shared a chain, the first
 * bytes of an untouched part after the tear would decrypt to neither the old nor the new content.
 */
const unit = 512;

/** Purposes the key of a layer is used for; the strings are part of the format of every disk that is encrypted twice. */
const purposes = { data: 'interlock layer v1: CBC data key', iv: 'interlock layer v1: ESSIV key' } as const;

/** Bytes AES works on at once. */
const blockSize = 16;

/**
 * The second layer of double encryption, below the one under the customer's key: AES-256-CBC with encrypted salt-sector
 * IVs, so mode and key both differ from the layer above (CMK-70). It takes ciphertext and keeps lengths and holes, and a torn
 * sector is torn where it was below, so everything above works as without it.
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

  /** One for each unit from `offset` on. */
  const ivsOf = (offset: number, length: number): Buffer => {
    const numbers = Buffer.alloc((length / unit) * blockSize);
    for (let n = 0; n * unit < length; n += 1) numbers.writeBigUInt64LE(BigInt(offset / unit + n), n * blockSize);
    return createCipheriv('aes-256-ecb', ivKey, null).setAutoPadding(false).update(numbers);
  };
  /** In the block at `at`, replaces the block before it, with which CBC has chained it, by the IV of its unit. */
  const unchain = (bytes: Uint8Array, at: number, before: Uint8Array, iv: Uint8Array): void => {
    for (let n = 0; n < blockSize; n += 1) bytes[at + n] = (bytes[at + n] ?? 0) ^ (before[n] ?? 0) ^ (iv[n] ?? 0);
  };
  const ivAt = (ivs: Buffer, at: number): Buffer => ivs.subarray((at / unit) * blockSize, (at / unit + 1) * blockSize);

  const encrypt = (offset: number, bytes: Uint8Array, into: Uint8Array): void => {
    const ivs = ivsOf(offset, bytes.length);
    const cipher = createCipheriv('aes-256-cbc', dataKey, ivAt(ivs, 0)).setAutoPadding(false);
    const plain = new Uint8Array(unit);
    for (let at = 0; at < bytes.length; at += unit) {
      plain.set(bytes.subarray(at, at + unit));
      if (at > 0) unchain(plain, 0, into.subarray(at - blockSize, at), ivAt(ivs, at));
      into.set(cipher.update(plain), at);
    }
  };
  const decrypt = (offset: number, bytes: Uint8Array): void => {
    const ivs = ivsOf(offset, bytes.length);
    const plain = createDecipheriv('aes-256-cbc', dataKey, ivAt(ivs, 0)).setAutoPadding(false).update(bytes);
    for (let at = unit; at < bytes.length; at += unit) {
      unchain(plain, at, bytes.subarray(at - blockSize, at), ivAt(ivs, at));
    }
    bytes.set(plain);
  };

  const decryptWritten = (offset: number, bytes: Uint8Array): void => {
    for (const [from, to] of writtenRuns(bytes)) decrypt(offset + from, bytes.subarray(from, to));
  };

  const layered: BlockStore = {
    size: () => store.size(),
    flush: () => store.flush(),
    grow: (size) => store.grow(size),
    allocatedBytes: () => store.allocatedBytes(),
    close: () => store.close(),
    writeDurably: (offset, bytes) => writesDurably(layered)(offset, bytes),
    async read(offset, into) {
      await store.read(offset, into);
      decryptWritten(offset, into);
    },
    async readOnce(offset, into) {
      await store.readOnce(offset, into);
      decryptWritten(offset, into);
    },
    async write(offset, bytes) {
      const sealed = new Uint8Array(bytes.length);
      for (const [from, to] of writtenRuns(bytes)) {
        encrypt(offset + from, bytes.subarray(from, to), sealed.subarray(from, to));
      }
      await store.write(offset, sealed);
    },
  };
  return layered;
};
