import assert from 'node:assert/strict';
import { test } from 'node:test';
import {
  beginMove,
  endMove,
  evolveMove,
  failMove,
  finishMove,
  type Movable,
  type MoveEvent,
  movesOn,
  noteRemoved,
  unmoved,
} from './moving.ts';

const at = 1_000;
const volume = {
  volumeId: 'v1',
  dekId: 'k',
  dekDiskId: 'u',
  dekAuthenticator: 'a',
  headerSequence: 3,
  headerDigest: 'd',
};
const here: Movable = { host: 'disk-0', volume, ...unmoved };
type Decision = (state: Movable) => readonly MoveEvent[];
const after = (...decisions: readonly Decision[]): Movable =>
  decisions.reduce((state, decide) => decide(state).reduce(evolveMove, state), here);

const begun: Decision = (state) => beginMove(state, at, 'disk-1', 'v2');
const finished: Decision = (state) => finishMove(state, at, 'v2', 7);
const failed: Decision = (state) => failMove(state, at, 'v2', 'STORAGE_FULL');
const removed =
  (volumeId: string): Decision =>
  (state) =>
    noteRemoved(state, at, volumeId);

test('a move gives the volume to the receiver, and names what is left at the sender until that is removed', () => {
  const moved = after(begun, finished);
  assert.deepEqual(moved, {
    ...unmoved,
    host: 'disk-1',
    volume: { ...volume, volumeId: 'v2' },
    former: { host: 'disk-0', volumeId: 'v1', leftBy: 'move' },
  });
  assert.deepEqual(after(begun, finished, removed('v1')).former, null);
  assert.deepEqual(removed('v2')(moved), [], 'another volume was removed');
});

test('a move that fails leaves everything as it was, says why, and names what is left at the receiver', () => {
  const { former, moveFailure, ...rest } = after(begun, failed);
  assert.deepEqual(
    { former, moveFailure },
    { former: { host: 'disk-1', volumeId: 'v2', leftBy: 'move' }, moveFailure: 'STORAGE_FULL' },
  );
  assert.deepEqual(rest, { host: here.host, volume, moving: null });
  const again = after(begun, failed, removed('v2'), (state) => beginMove(state, at, 'disk-1', 'v3'));
  assert.deepEqual([again.moving?.volumeId, again.moveFailure], ['v3', null]);
});

test('G5: a move that has ended is not finished late, neither by a paused sender nor after an access', () => {
  const late = { code: 'ABORTED', reason: 'DISK_CHANGED' };
  const next: Decision = (state) => beginMove(state, at, 'disk-1', 'v3');
  for (const ended of [failed, (state: Movable) => endMove(state, at)]) {
    assert.throws(() => finished(after(begun, ended)), late);
    assert.throws(() => finished(after(begun, ended, removed('v2'), next)), late);
    assert.deepEqual(failed(after(begun, ended, removed('v2'), next)), []);
  }
  assert.deepEqual(finished(after(begun, finished)), [], 'a repeat has no effect');
});

test('a repeat of a move has no effect; another one waits until the first has ended and nothing of it is left', () => {
  const other: Decision = (state) => beginMove(state, at, 'disk-2', 'v4');
  assert.deepEqual(begun(after(begun)), []);
  assert.deepEqual(begun(after(begun, finished)), []);
  const moving = { code: 'ABORTED', reason: 'DISK_MOVING' };
  assert.throws(() => other(after(begun)), moving);
  assert.throws(() => other(after(begun, finished)), moving);
  assert.throws(() => begun(after(begun, failed)), moving);
  assert.equal(other(after(begun, finished, removed('v1'))).length, 1);
});

test('both hosts find what is unfinished, and a disk at rest is in no such list', () => {
  const hosts = (...decisions: readonly Decision[]) => movesOn(after(...decisions)).map(({ value }) => value);
  assert.deepEqual(hosts(), []);
  assert.deepEqual(hosts(begun), ['disk-0', 'disk-1']);
  assert.deepEqual(hosts(begun, finished), ['disk-1', 'disk-0']);
  assert.deepEqual(hosts(begun, failed), ['disk-0', 'disk-1']);
  assert.deepEqual(hosts(begun, finished, removed('v1')), []);
});
