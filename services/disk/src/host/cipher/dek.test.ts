import assert from 'node:assert/strict';
import { hkdfSync, randomBytes, randomUUID } from 'node:crypto';
import { test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { sectorSize } from '../storage/sector.ts';
import { dekAuthenticator, matchesDekAuthenticator, openDiskCipher } from './dek.ts';
import { dekPayloadLength, encodeDekPayload, openDekPayload } from './dek-payload.ts';
import { openXts } from './xts.ts';

const hasReason = (reason: string) => (cause: unknown) => cause instanceof Rejection && cause.reason === reason;

test('the cipher of a disk is XTS under two keys derived from the DEK, as the format says (CMK-12)', () => {
  const dek = randomBytes(32);
  const derive = (info: string) => Buffer.from(hkdfSync('sha256', dek, '', info, 32));
  const data = derive('interlock disk v1: XTS data key');
  const tweak = derive('interlock disk v1: XTS tweak key');
  const expected = openXts(Buffer.concat([data, tweak]), undefined);
  const actual = openDiskCipher(dek, undefined);
  const plain = randomBytes(sectorSize);
  const [one, other] = [Buffer.alloc(sectorSize), Buffer.alloc(sectorSize)];
  expected.encrypt(3, plain, one);
  actual.encrypt(3, plain, other);
  assert.deepEqual(one, other);
});

test('G8: a cipher works after its caller has cleared the DEK, and refuses after it is destroyed', () => {
  const dek = randomBytes(32);
  const [plain, sector] = [randomBytes(sectorSize), Buffer.alloc(sectorSize)];
  openDiskCipher(dek, undefined).encrypt(3, plain, sector);
  const unused = openDiskCipher(dek, undefined);
  dek.fill(0);
  unused.decrypt(3, sector, sector);
  assert.deepEqual(sector, plain, 'it has a DEK of its own');
  for (const cipher of [unused, openDiskCipher(randomBytes(32), undefined)]) {
    cipher.destroy();
    cipher.destroy();
    assert.throws(() => cipher.encrypt(0, plain, sector), hasReason('DEK_DROPPED'));
    assert.throws(() => cipher.decrypt(0, plain, sector), hasReason('DEK_DROPPED'));
  }
});

test('CMK-12: the authenticator of a DEK matches only that DEK and its disk, and does not contain the DEK', () => {
  const [dek, owner] = [randomBytes(32), { dekId: randomUUID(), diskId: randomUUID() }];
  const authenticator = dekAuthenticator(dek, owner);
  const info = `interlock disk v1: DEK authenticator\0${owner.dekId}\0${owner.diskId}`;
  assert.equal(authenticator, Buffer.from(hkdfSync('sha256', dek, '', info, 32)).toString('base64url'));
  assert.equal(matchesDekAuthenticator(dek, owner, authenticator), true);
  assert.equal(matchesDekAuthenticator(randomBytes(32), owner, authenticator), false);
  assert.equal(matchesDekAuthenticator(dek, { ...owner, dekId: randomUUID() }, authenticator), false);
  assert.equal(matchesDekAuthenticator(dek, { ...owner, diskId: randomUUID() }, authenticator), false);
  for (const other of ['', authenticator.slice(1)]) assert.equal(matchesDekAuthenticator(dek, owner, other), false);
  assert.equal(authenticator.includes(dek.toString('base64url').slice(0, 8)), false);
});

test('a payload yields its DEK for the disk it was made for, and is overwritten (CMK-13, CMK-14)', () => {
  const owner = { dekId: randomUUID(), diskId: randomUUID() };
  const dek = randomBytes(32);
  const payload = encodeDekPayload(dek, owner);
  assert.equal(payload.length, dekPayloadLength);
  assert.ok(payload.length <= 190);
  // A message codec can return either: plain bytes, or a Buffer whose slices share memory.
  for (const given of [Buffer.from(payload), payload]) {
    assert.deepEqual(openDekPayload(given, owner), Uint8Array.from(dek));
    assert.ok(given.every((byte) => byte === 0));
  }
});

test('a payload of another disk, DEK or length is refused, and is also overwritten', () => {
  const owner = { dekId: randomUUID(), diskId: randomUUID() };
  const fresh = () => encodeDekPayload(randomBytes(32), owner);
  for (const [payload, expected] of [
    [fresh(), { ...owner, diskId: randomUUID() }],
    [fresh(), { ...owner, dekId: randomUUID() }],
    [fresh().subarray(1), owner],
    [Buffer.concat([fresh(), Buffer.of(1)]), owner],
    [Buffer.alloc(0), owner],
  ] as const) {
    assert.throws(() => openDekPayload(payload, expected), hasReason('WRONG_DEK'));
    assert.ok(payload.every((byte) => byte === 0));
  }
  assert.throws(() => encodeDekPayload(randomBytes(32), { ...owner, dekId: 'dek-1' }), hasReason('UUID_MALFORMED'));
});

test('G8, CMK-14: a cipher overwrites its copy of the DEK at its first use, or when it is destroyed', (t) => {
  const dek = randomBytes(32);
  for (const isUsed of [true, false]) {
    const copies = new Set<Uint8Array>();
    const set = Uint8Array.prototype.set;
    const watched = t.mock.method(
      Uint8Array.prototype,
      'set',
      function (this: Uint8Array, ...given: Parameters<typeof set>) {
        set.apply(this, given);
        if (Buffer.compare(this, dek) === 0) copies.add(this);
      },
    );
    const cipher = openDiskCipher(dek, undefined);
    watched.mock.restore();
    assert.ok(copies.size > 0, 'it is kept');
    if (isUsed) cipher.encrypt(0, new Uint8Array(4_096), new Uint8Array(4_096));
    else cipher.destroy();
    for (const copy of copies) assert.ok(copy.every((byte) => byte === 0));
    cipher.destroy();
  }
});
