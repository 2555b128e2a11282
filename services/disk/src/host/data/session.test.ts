import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { LossFacts } from '../keys/key-reasons.ts';
import { checkPiece, type PieceGate, type Session } from './session.ts';

const loss: LossFacts = { reason: 'KEY_DISABLED', since: 1, traceId: '', accessEpoch: 7 };
const key = { set: 'sets/s', keyVersion: 'versions/v' };

/** Under a lost key, as far as a check of it looks. */
const sessionOf = (state: Pick<Session, 'isPinnable' | 'held'>): Session =>
  ({
    ...state,
    name: 'disks/d',
    attachEpoch: 1,
    streams: 0,
    isEnded: false,
    expiresAt: undefined,
    bridge: undefined,
    lease: { key, yes: () => undefined, isHeld: () => false },
    user: { accessEpoch: 1 },
  }) as Partial<Session> as Session;

const gateOf = (isOwner: boolean) => {
  const waiting: string[] = [];
  const gate: PieceGate = {
    ownership: { isHeld: () => isOwner },
    keyAccess: { lossAfter: () => loss },
    now: () => 0,
    regain: async ({ name }) => void waiting.push(name),
  };
  return { gate, waiting };
};

test('G3, CMK-102: a pinned disk whose host has no lease for a moment waits for that, and is not refused for its lost key', async () => {
  const pinned = sessionOf({ isPinnable: true, held: { grant: undefined } });
  const without = gateOf(false);
  await checkPiece(pinned, without.gate);
  assert.deepEqual(without.waiting, ['disks/d']);
  const owner = gateOf(true);
  await checkPiece(pinned, owner.gate);
  assert.deepEqual(owner.waiting, []);
});

test('CMK-100: whatever else is missing, a disk that is not pinned is refused for its lost key', () => {
  for (const isOwner of [true, false]) {
    const session = sessionOf({ isPinnable: false, held: undefined });
    assert.throws(() => checkPiece(session, gateOf(isOwner).gate), { reason: 'KEY_DISABLED' });
  }
});
