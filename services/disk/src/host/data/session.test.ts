import assert from 'node:assert/strict';
import { test } from 'node:test';
import { destroyedCipher } from '../cipher/xts.ts';
import type { LossFacts } from '../keys/key-reasons.ts';
import type { EncryptedDisk } from '../pieces/encrypted-disk.ts';
import type { DiskRecord } from '../records.ts';
import { checkPiece, type PieceGate, Session } from './session.ts';

const loss: LossFacts = { reason: 'KEY_DISABLED', since: 1, traceId: '', accessEpoch: 7 };
const key = { set: 'sets/s', keyVersion: 'versions/v' };

/** A session under a lost key, with its DEK if it is pinned. */
const encryption = { type: 'customer', set: 's' } as const;

const sessionOf = ({ isPinned }: { readonly isPinned: boolean }): Session => {
  const record = {
    holder: { name: 'disks/d', volume: { volumeId: 'v' }, encryption } as DiskRecord['holder'],
    access: { by: 'machine', attachEpoch: 1, tokenHash: 't' },
    attachEpoch: 1,
    grant: { accessEpoch: 1 },
    isMoving: false,
    outlivesKeyLoss: isPinned,
  } as const;
  const disk = { giveKey: () => undefined, dropKey: () => undefined } as unknown as EncryptedDisk;
  const lease = { key, grant: () => undefined, leftMs: () => 0, isHeld: () => false };
  const session = new Session(record, disk, {
    keyAccess: {
      lease: () => lease,
      lossAfter: () => loss,
      lossConcerning: () => loss,
      termOf: () => ({ isHeld: () => false, leftMs: () => 0 }),
    },
    leases: { join: () => undefined, leave: () => undefined },
    clock: { sleep: async () => undefined },
    openCipher: () => destroyedCipher,
    intactSince: 0,
    probe: async () => undefined,
  });
  session.moveTo(key);
  if (isPinned) session.giveDek({ dek: new Uint8Array(32), grant: undefined });
  return session;
};

const gateOf = (isOwner: boolean) => {
  const waiting: string[] = [];
  const gate: PieceGate = {
    ownership: { isHeld: () => isOwner },
    now: () => 0,
    regain: async ({ name }) => void waiting.push(name),
  };
  return { gate, waiting };
};

test('G3, CMK-102: a pinned disk waits while its host is not the owner, and is not refused for its lost key', async () => {
  const pinned = sessionOf({ isPinned: true });
  const without = gateOf(false);
  await checkPiece(pinned, without.gate);
  assert.deepEqual(without.waiting, ['disks/d']);
  const owner = gateOf(true);
  await checkPiece(pinned, owner.gate);
  assert.deepEqual(owner.waiting, []);
});

test('CMK-100: a disk that is not pinned is refused for its lost key, whether its host is the owner or not', () => {
  for (const isOwner of [true, false]) {
    const session = sessionOf({ isPinned: false });
    assert.throws(() => checkPiece(session, gateOf(isOwner).gate), { reason: 'KEY_DISABLED' });
  }
});
