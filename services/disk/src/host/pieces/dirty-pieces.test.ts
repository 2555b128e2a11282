import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { pieceSize } from '../storage/sector.ts';
import { DirtyPieces } from './dirty-pieces.ts';

const sizeBytes = 20 * pieceSize + 4_096;
const taken = (dirty: DirtyPieces): readonly number[] => [...dirty.take()].map(({ from }) => from / pieceSize);

test('G5: what was written is taken once, in order, each piece whole and none beyond the end of the volume', () => {
  const dirty = new DirtyPieces(sizeBytes);
  dirty.mark(3 * pieceSize - 1, 2);
  dirty.mark(20 * pieceSize, 8_192);
  dirty.mark(0, 0);
  dirty.mark(7 * pieceSize + 512, 0);
  assert.equal(dirty.count, 3);
  assert.deepEqual([...dirty.take()].at(-1), { from: 20 * pieceSize, to: sizeBytes });
  assert.deepEqual([dirty.count, taken(dirty)], [0, []]);
});

test('G5: a piece that is written again after it was taken is taken again', () => {
  const dirty = new DirtyPieces(sizeBytes);
  dirty.mark(0, sizeBytes);
  const first = dirty.take();
  first.next();
  dirty.mark(10, 1);
  dirty.mark(5 * pieceSize, 1);
  const rest = [...first].map(({ from }) => from / pieceSize);
  assert.equal(rest.filter((piece) => piece === 5).length, 1);
  assert.deepEqual(taken(dirty), [0]);
});

test('it has exactly the pieces that writes touched', () => {
  const write = fc.record({ offset: fc.nat(sizeBytes - 1), length: fc.nat(3 * pieceSize) });
  fc.assert(
    fc.property(fc.array(write), (writes) => {
      const dirty = new DirtyPieces(sizeBytes);
      const expected = new Set<number>();
      for (const { offset, length } of writes) {
        dirty.mark(offset, length);
        for (
          let at = offset;
          at < Math.min(offset + length, sizeBytes);
          at = (Math.floor(at / pieceSize) + 1) * pieceSize
        )
          expected.add(Math.floor(at / pieceSize));
      }
      assert.equal(dirty.count, expected.size);
      assert.deepEqual(
        taken(dirty),
        [...expected].toSorted((a, b) => a - b),
      );
    }),
    { numRuns: 1_000 },
  );
});
