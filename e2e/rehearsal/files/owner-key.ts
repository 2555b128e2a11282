import { constants, createDecipheriv, hkdfSync, type KeyObject, privateDecrypt } from 'node:crypto';
import type { Volume, VolumeHeader } from './volume.ts';

/**
 * What the owner of a key can do without the cloud: read a disk with the private key and the files of the disk. Written from
 * the description of the format, without code of the services, so that it proves what is on the disk (CMK-12, CMK-13).
 */

const dekBytes = 32;
const sectorBytes = 4_096;

/** Unwraps the data key of a header with RSA-OAEP-256. @throws Error when this key did not wrap it */
export function unwrapDek(key: KeyObject, { wrapped, diskId }: VolumeHeader): Buffer {
  const padding = { key, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' };
  const payload = privateDecrypt(padding, wrapped);
  // Data key, its id, and the id of the disk it is for.
  const owner = payload.subarray(dekBytes + 16).toString('hex');
  if (owner !== diskId.replaceAll('-', '')) throw new Error(`the data key of disk ${diskId} was wrapped for ${owner}`);
  return Buffer.from(payload.subarray(0, dekBytes));
}

/** Decrypts whole sectors: AES-256-XTS, the tweak being the number of the sector. */
export function decryptSectors(dek: Uint8Array, offset: number, ciphertext: Uint8Array): Buffer {
  const part = (purpose: string) => Buffer.from(hkdfSync('sha256', dek, Buffer.alloc(0), purpose, dekBytes));
  const key = Buffer.concat([part('interlock disk v1: XTS data key'), part('interlock disk v1: XTS tweak key')]);
  const plaintext = Buffer.alloc(ciphertext.length);
  for (let at = 0; at < ciphertext.length; at += sectorBytes) {
    const tweak = Buffer.alloc(16);
    tweak.writeBigUInt64LE(BigInt((offset + at) / sectorBytes));
    const cipher = createDecipheriv('aes-256-xts', key, tweak);
    cipher.update(ciphertext.subarray(at, at + sectorBytes)).copy(plaintext, at);
  }
  return plaintext;
}

/** The content of a disk from its file. */
export const readAsOwner = (volume: Volume, dek: Uint8Array, offset: number, length: number): Buffer =>
  decryptSectors(dek, offset, volume.raw(offset, length));
