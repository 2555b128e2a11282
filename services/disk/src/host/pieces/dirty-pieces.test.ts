import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { pieceSize } from '../storage/sector.ts';
import { DirtyPieces } from './dirty-pieces.ts';

/** Bytes of a piece of a small volume. */
const followedSize = 64 * 1024;

const sizeBytes = 20 * pieceSize + 4_096;
/** The pieces that are taken, by number. */
const taken = (dirty: DirtyPieces): readonly number[] =>
  [...dirty.take()].flatMap(({ from, to }) =>
    Array.from({ length: Math.ceil((to - from) / followedSize) }, (_, n) => from / followedSize + n),
  );

test('G5: what was written is taken once, in order, each piece whole and none beyond the end of the volume', () => {
  const dirty = new DirtyPieces(sizeBytes);
  dirty.mark(3 * followedSize - 1, 2);
  dirty.mark(20 * pieceSize, 8_192);
  dirty.mark(0, 0);
  dirty.mark(7 * followedSize + 512, 0);
  assert.deepEqual([dirty.count, dirty.bytes], [3, 3 * followedSize]);
  assert.deepEqual(
    [...dirty.take()],
    [
      { from: 2 * followedSize, to: 4 * followedSize },
      { from: 20 * pieceSize, to: sizeBytes },
    ],
  );
  assert.deepEqual([dirty.count, taken(dirty)], [0, []]);
});

test('G5: a piece that is written again after it was taken is taken again', () => {
  const dirty = new DirtyPieces(sizeBytes);
  dirty.mark(0, sizeBytes);
  const first = dirty.take();
  first.next();
  dirty.mark(10, 1);
  dirty.mark(5 * pieceSize, 1);
  const rest = [...first];
  assert.equal(rest.filter(({ from, to }) => from <= 5 * pieceSize && 5 * pieceSize < to).length, 1);
  assert.deepEqual(taken(dirty), [0]);
});

test('the pieces of a larger disk are larger, at most a message, so that its bits need little memory', () => {
  const tib = 2 ** 40;
  for (const [sizeBytes, pieceBytes] of [
    [tib, followedSize],
    [tib + 512, 2 * followedSize],
    [16 * tib, pieceSize],
    [64 * tib, pieceSize],
  ] as const) {
    const dirty = new DirtyPieces(sizeBytes);
    dirty.mark(sizeBytes - pieceSize, 1);
    const [range, ...others] = dirty.take();
    const from = Math.floor((sizeBytes - pieceSize) / pieceBytes) * pieceBytes;
    assert.deepEqual([range, others], [{ from, to: from + pieceBytes }, []]);
  }
});

test('it has exactly the pieces that writes touched, in ranges of at most a message', () => {
  const write = fc.record({ offset: fc.nat(sizeBytes - 1), length: fc.nat(3 * pieceSize) });
  fc.assert(
    fc.property(fc.array(write), (writes) => {
      const dirty = new DirtyPieces(sizeBytes);
      const expected = new Set<number>();
      for (const { offset, length } of writes) {
        dirty.mark(offset, length);
        const end = Math.min(offset + length, sizeBytes);
        for (let at = offset; at < end; at = (Math.floor(at / followedSize) + 1) * followedSize)
          expected.add(Math.floor(at / followedSize));
      }
      assert.equal(dirty.count, expected.size);
      const ranges = [...dirty.take()];
      for (const { from, to } of ranges) assert.ok(to > from && to - from <= pieceSize && to <= sizeBytes);
      const copy = new DirtyPieces(sizeBytes);
      for (const { from, to } of ranges) copy.mark(from, to - from);
      assert.deepEqual(
        taken(copy),
        [...expected].toSorted((a, b) => a - b),
      );
      assert.deepEqual([dirty.count, taken(dirty)], [0, []]);
    }),
    { numRuns: 1_000 },
  );
});
