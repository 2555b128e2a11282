import assert from 'node:assert/strict';
import { spawn } from 'node:child_process';
import { once } from 'node:events';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { systemClock as clock } from '@interlock/runtime';
import { lockFolder, machineId, readOwner, requireMasterKeyOf, writeOwner } from './folder-identity.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-folder-'));
after(() => rmSync(folder, { recursive: true }));

test('one process locks the folder; the next one waits for it until its timeout', async () => {
  const { signal } = new AbortController();
  const unlock = await lockFolder(folder, { clock, patienceMs: 0, signal });
  await assert.rejects(lockFolder(folder, { clock, patienceMs: 0, signal }), /another process serves the volumes/);
  const next = lockFolder(folder, { clock, patienceMs: 600_000, signal });
  unlock();
  (await next)();
});

test('the lock of a folder is released when its process is killed', async () => {
  const { signal } = new AbortController();
  const script = `
    const { lockFolder } = await import(${JSON.stringify(new URL('./folder-identity.ts', import.meta.url).href)});
    const clock = { monotonicMs: () => 0 };
    await lockFolder(${JSON.stringify(folder)}, { clock, patienceMs: 0, signal: new AbortController().signal });
    console.log('locked');
    setInterval(() => {}, 1000);`;
  const child = spawn(process.execPath, ['--input-type=module', '--eval', script], {
    stdio: ['ignore', 'pipe', 'inherit'],
  });
  try {
    await once(child.stdout, 'data');
    await assert.rejects(lockFolder(folder, { clock, patienceMs: 0, signal }), /another process serves the volumes/);
  } finally {
    child.kill('SIGKILL');
    await once(child, 'exit');
  }
  (await lockFolder(folder, { clock, patienceMs: 0, signal }))();
});

test('a process that waits for the lock of a folder reports it, and stops on request', async () => {
  const stopping = new AbortController();
  const patient = { clock, patienceMs: Number.POSITIVE_INFINITY, signal: stopping.signal };
  const unlock = await lockFolder(folder, {
    ...patient,
    onWaiting: () => assert.fail('no other process holds the lock'),
  });
  const standsBy = Promise.withResolvers<void>();
  const next = lockFolder(folder, { ...patient, onWaiting: standsBy.resolve });
  await standsBy.promise;
  stopping.abort();
  await assert.rejects(next, /stopped while another process serves/);
  unlock();
});

test('a machine has the same id each time', async () => {
  assert.equal(await machineId(), await machineId());
});

test('a folder stores its last owner, and a malformed owner file is refused', async () => {
  const place = join(folder, 'owned');
  mkdirSync(place);
  assert.equal(await readOwner(place), undefined);
  await writeOwner(place, { epoch: 3, machine: 'm' });
  await writeOwner(place, { epoch: 4, machine: 'n' });
  assert.deepEqual(await readOwner(place), { epoch: 4, machine: 'n' });
  writeFileSync(join(place, 'owner.json'), '{}');
  await assert.rejects(readOwner(place), /owner\.json does not say/);
});

test('a full folder accepts a new owner in its existing file, so a host can start and an operator can free space', async () => {
  const place = join(folder, 'full');
  mkdirSync(place);
  const fillUp = (): void => symlinkSync('/dev/full', join(place, 'owner.json.new'));
  fillUp();
  await assert.rejects(writeOwner(place, { epoch: 1, machine: 'm' }), { reason: 'STORAGE_FULL' });
  rmSync(join(place, 'owner.json.new'));
  for (const owner of [
    { epoch: 10, machine: 'a long name' },
    { epoch: 9, machine: 'short' },
    { epoch: 11, machine: 'a name that is longer still' },
  ]) {
    await writeOwner(place, { epoch: 8, machine: 'another' });
    fillUp();
    await writeOwner(place, owner);
    assert.deepEqual(await readOwner(place), owner);
    assert.deepEqual(readdirSync(place), ['owner.json']);
  }
});

test('a host starts with its previous master key, and with another one only if nothing is sealed', async () => {
  const own = join(folder, 'master');
  mkdirSync(own);
  const start = (id: string, sealed?: string) => requireMasterKeyOf(own, { id }, async () => sealed);
  await start('key-1', 'the key in a.layer');
  await start('key-1', 'the key in a.layer');
  await assert.rejects(start('key-2', 'the key in a.layer'), {
    reason: 'MASTER_KEY_UNKNOWN',
    message: /a\.layer is sealed under master key key-1, and MASTER_KEY_FILE has key-2/,
  });
  await start('key-2');
  await assert.rejects(start('key-1', 'the key in b.layer'), { reason: 'MASTER_KEY_UNKNOWN' });
});
