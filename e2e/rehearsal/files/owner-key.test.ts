import assert from 'node:assert/strict';
import { constants, createCipheriv, generateKeyPairSync, hkdfSync, publicEncrypt, randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { readAsOwner, unwrapDek } from './owner-key.ts';
import { findVolumes } from './volume.ts';

const owner = generateKeyPairSync('rsa', { modulusLength: 2048 });
const stranger = generateKeyPairSync('rsa', { modulusLength: 2048 });
const diskId = '01234567-89ab-4cde-8f01-23456789abcd';
const dek = randomBytes(32);

/** A slot of a header: magic, version, length, JSON. */
const slot = (sequence: number, keyVersion: string, forDisk = diskId): Buffer => {
  const payload = Buffer.concat([dek, randomBytes(16), Buffer.from(forDisk.replaceAll('-', ''), 'hex')]);
  const padding = { key: owner.publicKey, padding: constants.RSA_PKCS1_OAEP_PADDING, oaepHash: 'sha256' };
  const wrap = { keyVersion, algorithm: 'RSA-OAEP-256', wrapped: publicEncrypt(padding, payload).toString('base64') };
  const json = JSON.stringify({ diskId, cipher: 'AES-256-XTS-4096', generation: 1, sequence, wrap });
  const bytes = Buffer.alloc(4_096);
  bytes.write('ILKDISKH', 0, 'latin1');
  bytes.writeUInt32BE(json.length, 12);
  bytes.write(json, 16);
  return bytes;
};

const encrypted = (sector: number, plaintext: Buffer): Buffer => {
  const part = (purpose: string) => Buffer.from(hkdfSync('sha256', dek, Buffer.alloc(0), purpose, 32));
  const tweak = Buffer.alloc(16);
  tweak.writeUInt32LE(sector);
  const key = Buffer.concat([part('interlock disk v1: XTS data key'), part('interlock disk v1: XTS tweak key')]);
  return createCipheriv('aes-256-xts', key, tweak).update(plaintext);
};

const volumeWith = (t: { after(clean: () => void): void }, slots: readonly Buffer[]) => {
  const folder = mkdtempSync(join(tmpdir(), 'interlock-volume-'));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'v.header'), Buffer.concat(slots));
  const content = Buffer.alloc(8_192, 'secret content ');
  writeFileSync(join(folder, 'v.data'), Buffer.concat([0, 1].map((at) => encrypted(at, content.subarray(0, 4_096)))));
  const volume = findVolumes(folder).get(diskId);
  assert.ok(volume);
  return { volume, content: content.subarray(0, 4_096) };
};

test('the owner reads the disk with only the private key and the files', (t) => {
  const { volume, content } = volumeWith(t, [slot(1, 'old'), slot(2, 'new')]);
  assert.equal(volume.header.keyVersion, 'new', 'of two slots the newer counts');
  assert.equal(volume.slots, 2);
  const found = unwrapDek(owner.privateKey, volume.header);
  assert.deepEqual(readAsOwner(volume, found, 4_096, 4_096), content);
  assert.notDeepEqual(readAsOwner(volume, found, 4_096, 4_096), readAsOwner(volume, randomBytes(32), 4_096, 4_096));
});

test('another private key unwraps nothing, and a DEK wrapped for another disk is refused', (t) => {
  const { volume } = volumeWith(t, [Buffer.alloc(4_096), slot(1, 'k')]);
  assert.throws(() => unwrapDek(stranger.privateKey, volume.header));
  const moved = volumeWith(t, [slot(1, 'k', 'ffffffff-89ab-4cde-8f01-23456789abcd')]).volume;
  assert.throws(() => unwrapDek(owner.privateKey, moved.header), /was wrapped for ffffffff/);
});
