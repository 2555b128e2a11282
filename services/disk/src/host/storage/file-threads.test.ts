import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { openFileThreads } from './file-threads.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-threads-'));
after(() => rmSync(folder, { recursive: true }));

test('concurrent calls for many files each get their own result or file system error', async () => {
  const threads = openFileThreads();
  const paths = Array.from({ length: 100 }, (_, n) => join(folder, `f${n}`));
  const files = await Promise.all(
    paths.map(async (path) => {
      const { fd, size } = await threads.create(path, 4_096);
      assert.equal(size, 4_096);
      return fd;
    }),
  );
  const beginsOf = async (path: string | undefined, length: number) => [
    ...((await threads.load(path ?? ''))?.subarray(0, length) ?? []),
  ];
  await Promise.all(paths.map((path, n) => threads.write(path, n, Uint8Array.of(n, n + 1))));
  const read = await Promise.all(paths.map((path) => threads.load(path)));
  assert.deepEqual(
    read.map((bytes, n) => [bytes?.length, ...(bytes?.subarray(n, n + 2) ?? [])]),
    paths.map((_, n) => [4_096, n, n + 1]),
  );
  // A view of a larger memory: only the view is written.
  const back = await Promise.all(
    paths.map((path) => threads.writeDurably(path, 0, Uint8Array.of(1, 2, 3, 4).subarray(1, 3))),
  );
  assert.ok(back.every((isThere) => isThere));
  assert.deepEqual(await beginsOf(paths[7], 3), [2, 3, 0]);
  await Promise.all(paths.map((path) => threads.flush(path)));
  const [missing, missingToo, found] = await Promise.all([
    threads.open(join(folder, 'missing')),
    threads.load(join(folder, 'missing')),
    threads.open(join(folder, 'f0')),
    assert.rejects(threads.open(folder), { code: 'EISDIR' }),
    assert.rejects(threads.write(join(folder, 'missing'), 0, Uint8Array.of(1)), { code: 'ENOENT' }),
  ]);
  assert.deepEqual([missing, missingToo], [undefined, undefined]);
  assert.equal(found?.size, 4_096);
  await Promise.all([...files, found?.fd ?? 0].map((fd) => threads.close(fd)));
  await assert.rejects(threads.close(files[0] ?? 0), { code: 'EBADF' });
  await threads.stop();
  await assert.rejects(threads.open(join(folder, 'f0')), /have ended/);
});

test('a thread that dies fails its pending calls, and later calls use another thread', async () => {
  const script = join(folder, 'dying.mjs');
  const real = new URL('./file-worker.ts', import.meta.url).href;
  writeFileSync(
    script,
    `import { parentPort } from 'node:worker_threads';
    parentPort.on('message', ({ calls }) => { if (calls.some(({ path }) => path === 'die')) process.exit(3); });
    await import(${JSON.stringify(real)});`,
  );
  const threads = openFileThreads(pathToFileURL(script));
  await assert.rejects(threads.open('die'), /ended \(exit code 3\)/);
  const again = await Promise.all(Array.from({ length: 200 }, () => threads.open(join(folder, 'dying.mjs'))));
  await Promise.all(again.map((file) => threads.close(file?.fd ?? 0)));
  await threads.stop();
});
