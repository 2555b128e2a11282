import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { type TestContext, test } from 'node:test';
import { zstdCompressSync } from 'node:zlib';
import { uncompressedKernel } from './kernel.ts';

/** A kernel image with two setup sectors. The payload starts 64 bytes after them. */
const imageWith = (t: TestContext, payload: Buffer): string => {
  const folder = mkdtempSync(join(tmpdir(), 'interlock-kernel-'));
  t.after(() => rmSync(folder, { recursive: true }));
  const head = Buffer.alloc(3 * 512 + 64);
  head.writeUInt8(2, 0x1f1);
  head.writeUInt32LE(64, 0x248);
  // The payload ends with its uncompressed size.
  head.writeUInt32LE(payload.length + 4, 0x24c);
  const path = join(folder, 'vmlinuz');
  writeFileSync(path, Buffer.concat([head, payload, Buffer.alloc(4, 1), Buffer.from('what follows the payload')]));
  return path;
};

test('unpacks the kernel of a zstd image and ignores the bytes after the payload', (t) => {
  const kernel = Buffer.from('\x7fELF and the rest of a kernel');
  assert.deepEqual(uncompressedKernel(imageWith(t, zstdCompressSync(kernel))), kernel);
});

test('refuses an image that holds no zstd payload or no ELF file, and names its path', (t) => {
  assert.throws(() => uncompressedKernel(imageWith(t, Buffer.from('not zstd'))), /vmlinuz is no kernel image/);
  assert.throws(
    () => uncompressedKernel(imageWith(t, zstdCompressSync(Buffer.from('no kernel')))),
    /vmlinuz is no kernel image .*: it contains no ELF file/,
  );
});
