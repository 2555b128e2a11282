import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { openFileThreads } from './file-threads.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-threads-'));
after(() => rmSync(folder, { recursive: true }));

test('calls of many files at once are each answered for themselves, failures of the file system included', async () => {
  const threads = openFileThreads();
  const files = await Promise.all(
    Array.from({ length: 100 }, async (_, n) => {
      const { fd, size } = await threads.create(join(folder, `f${n}`), 4_096);
      assert.equal(size, 4_096);
      return fd;
    }),
  );
  await Promise.all(files.map((fd, n) => threads.write(fd, n, Uint8Array.of(n, n + 1))));
  const read = await Promise.all(files.map((fd, n) => threads.read(fd, n, 2)));
  assert.deepEqual(
    read.map((bytes) => [...bytes]),
    files.map((_, n) => [n, n + 1]),
  );
  // A view of a larger memory: what is sent is the view.
  const back = await Promise.all(
    files.map((fd) => threads.writeDurably(fd, 0, Uint8Array.of(1, 2, 3, 4).subarray(1, 3))),
  );
  assert.ok(back.every((isThere) => isThere));
  assert.deepEqual([...(await threads.read(files[7] ?? 0, 0, 3))], [2, 3, 0]);
  assert.equal((await threads.read(files[0] ?? 0, 4_095, 10)).length, 1, 'the file ends');
  const [missing, found] = await Promise.all([
    threads.open(join(folder, 'missing')),
    threads.open(join(folder, 'f0')),
    assert.rejects(threads.open(folder), { code: 'EISDIR' }),
  ]);
  assert.equal(missing, undefined);
  assert.equal(found?.size, 4_096);
  await Promise.all([...files, found?.fd ?? 0].map((fd) => threads.close(fd)));
  await assert.rejects(threads.flush(files[0] ?? 0), { code: 'EBADF' });
  await threads.stop();
  await assert.rejects(threads.open(join(folder, 'f0')), /have ended/);
});

test('a thread that dies fails what it was asked, and the next calls have another', async () => {
  const script = join(folder, 'dying.mjs');
  const real = new URL('./file-worker.ts', import.meta.url).href;
  writeFileSync(
    script,
    `import { parentPort } from 'node:worker_threads';
    parentPort.on('message', (calls) => { if (calls.some(({ path }) => path === 'die')) process.exit(3); });
    await import(${JSON.stringify(real)});`,
  );
  const threads = openFileThreads(pathToFileURL(script));
  await assert.rejects(threads.open('die'), /ended \(exit code 3\)/);
  const again = await Promise.all(Array.from({ length: 200 }, () => threads.open(join(folder, 'dying.mjs'))));
  await Promise.all(again.map((file) => threads.close(file?.fd ?? 0)));
  await threads.stop();
});
