import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { constants } from 'node:fs';
import { mkdtemp, open, rm, truncate, writeFile } from 'node:fs/promises';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { readDirectly } from './file-direct-reads.ts';
import { pieceSize, sectorSize } from './sector.ts';

const folder = await mkdtemp(join(tmpdir(), 'interlock-direct-'));
after(() => rm(folder, { recursive: true }));
const path = join(folder, 'volume');
const content = randomBytes(pieceSize + 3 * sectorSize);
await writeFile(path, content);

/** Whether the file system of the folder has direct reads. */
const isPossible = await open(path, constants.O_RDONLY | constants.O_DIRECT).then(
  (file) => file.close().then(() => true),
  () => false,
);
const options = { skip: isPossible ? false : 'this file system has no direct reads' };

test('G5: many direct reads at once each get their own bytes, and failed reads keep no memory', options, async () => {
  await Promise.all(
    Array.from({ length: 10 }, () =>
      assert.rejects(readDirectly(join(folder, 'missing'), Buffer.alloc(sectorSize), 0), { code: 'ENOENT' }),
    ),
  );
  await Promise.all(
    Array.from({ length: 20 }, async (_, n) => {
      const at = (n % 5) * sectorSize;
      const into = Buffer.alloc(3 * sectorSize);
      assert.equal(await readDirectly(path, into, at), into.length);
      assert.ok(into.equals(content.subarray(at, at + into.length)));
    }),
  );
});

test('G5: a direct read ends at a piece and at the end of the file, and a hole reads as zeros', options, async () => {
  assert.equal(await readDirectly(path, Buffer.alloc(content.length), 0), pieceSize);
  const rest = Buffer.alloc(pieceSize);
  assert.equal(await readDirectly(path, rest, pieceSize), 3 * sectorSize);
  assert.ok(rest.subarray(0, 3 * sectorSize).equals(content.subarray(pieceSize)));
  assert.equal(await readDirectly(path, rest, content.length), 0);
  await truncate(path, 3 * pieceSize);
  assert.equal(await readDirectly(path, rest, 2 * pieceSize), pieceSize);
  assert.ok(rest.equals(Buffer.alloc(pieceSize)));
});
