import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { openOutside } from '../../e2e/cloud/clients.ts';
import { openDataFolder } from './data-folder.ts';
import { holdWord } from './hold-word.ts';
import { startLocalCloud } from './local-cloud.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-test-'));
after(() => rmSync(folder, { recursive: true, force: true }));

test('a cloud that starts on hold says so, and no longer once that is confirmed', async (t) => {
  const cloud = await startLocalCloud({
    data: openDataFolder(folder),
    env: { PATH: process.env.PATH, DATABASE_URL: process.env.DATABASE_URL, NATS_URL: process.env.NATS_URL },
    name: `test_${randomBytes(4).toString('hex')}`,
    temporary: true,
    services: ['identity', 'key-vault'],
    settings: { HOLD: 'after-a-restore' },
  });
  t.after(cloud.stop);
  assert.match((await holdWord(cloud)) ?? '', /key-vault is on hold \(HOLD asks for it\).*npx interlock hold show$/);

  const outside = openOutside(cloud);
  t.after(() => outside.close());
  const { keyVault } = outside.administrator;
  await keyVault.confirmKeyStates({ holdId: (await keyVault.getHold({})).hold?.holdId ?? '' });
  await cloud.restart('key-vault');
  assert.equal(await holdWord(cloud), undefined);

  const unknown = { ...cloud.administrator, secret: 'wrong' };
  assert.match(
    (await holdWord({ ...cloud, administrator: unknown })) ?? '',
    /^Whether key-vault is on hold cannot be told/,
  );
});
