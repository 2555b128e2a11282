import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, readdirSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { machineId, readOwner, requireMasterKeyOf, writeOwner } from './folder-identity.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-folder-'));
after(() => rmSync(folder, { recursive: true }));

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
