import { createHash, timingSafeEqual } from 'node:crypto';

/**
 * Paddings built on the raw RSA operation. OpenSSL offers those of signatures only together with a hash of the message, and
 * for RSA1_5 it decrypts a changed ciphertext to random bytes.
 */

/** ASN.1 DigestInfo up to the digest itself (RFC 8017, section 9.2, note 1). */
const digestInfoPrefixes: Readonly<Record<string, Buffer>> = {
  sha256: Buffer.from('3031300d060960864801650304020105000420', 'hex'),
  sha384: Buffer.from('3041300d060960864801650304020205000430', 'hex'),
  sha512: Buffer.from('3051300d060960864801650304020305000440', 'hex'),
};

/** DigestInfo of a digest: what RSASSA-PKCS1-v1_5 signs. @param hash sha256, sha384 or sha512. */
export function digestInfo(hash: string, digest: Uint8Array): Uint8Array {
  const prefix = digestInfoPrefixes[hash];
  if (!prefix) throw new Error(`no DigestInfo for ${hash}`);
  return Buffer.concat([prefix, digest]);
}

/** MGF1 (RFC 8017, appendix B.2.1). */
function mask(hash: string, seed: Uint8Array, length: number): Uint8Array {
  const blocks: Buffer[] = [];
  const counter = Buffer.alloc(4);
  for (let have = 0, index = 0; have < length; index += 1) {
    counter.writeUInt32BE(index);
    const block = createHash(hash).update(seed).update(counter).digest();
    blocks.push(block);
    have += block.length;
  }
  return Buffer.concat(blocks).subarray(0, length);
}

const xor = (left: Uint8Array, right: Uint8Array) => left.map((byte, index) => byte ^ (right[index] ?? 0));

/** H of the PSS encoding: the hash over eight zeros, digest and salt. */
const saltedHash = (hash: string, digest: Uint8Array, salt: Uint8Array) =>
  createHash(hash).update(Buffer.alloc(8)).update(digest).update(salt).digest();

/**
 * EMSA-PSS (RFC 8017, section 9.1.1) for a modulus of `modulus` bytes whose top bit is set; the salt is as long as the
 * digest (RFC 7518, section 3.5).
 */
export function encodePss(hash: string, digest: Uint8Array, salt: Uint8Array, modulus: number): Uint8Array {
  const h = saltedHash(hash, digest, salt);
  const block = new Uint8Array(modulus - h.length - 1);
  block[block.length - salt.length - 1] = 1;
  block.set(salt, block.length - salt.length);
  const masked = xor(block, mask(hash, h, block.length));
  masked[0] = (masked[0] ?? 0) & 0x7f;
  return Buffer.concat([masked, h, Buffer.of(0xbc)]);
}

/** Whether `encoded` is an EMSA-PSS encoding of `digest` (RFC 8017, section 9.1.2). */
export function matchesPss(hash: string, digest: Uint8Array, encoded: Uint8Array): boolean {
  const blockLength = encoded.length - digest.length - 1;
  if (blockLength < digest.length + 1 || encoded.at(-1) !== 0xbc || (encoded[0] ?? 0x80) & 0x80) return false;
  const h = encoded.subarray(blockLength, -1);
  const block = xor(encoded.subarray(0, blockLength), mask(hash, h, blockLength));
  block[0] = (block[0] ?? 0) & 0x7f;
  const saltStart = blockLength - digest.length;
  if (block[saltStart - 1] !== 1 || block.subarray(0, saltStart - 1).some((byte) => byte !== 0)) return false;
  return timingSafeEqual(h, saltedHash(hash, digest, block.subarray(saltStart)));
}

/**
 * The message inside a PKCS#1 v1.5 encryption block, or undefined when the padding is wrong: the vault must refuse such a
 * ciphertext and never return a different plaintext (KV-42). The refusal is no padding oracle, because its callers may
 * decrypt anyway. A change that leaves the padding intact is not noticed: so RSA1_5 is off by default and never wraps a
 * DEK (KV-40).
 */
export function pkcs1Message(block: Uint8Array): Uint8Array | undefined {
  const end = block.indexOf(0, 2);
  // Eight non-zero padding bytes at least (RFC 8017, section 7.2.1).
  if (block[0] !== 0 || block[1] !== 2 || end < 10) return undefined;
  return block.subarray(end + 1);
}
