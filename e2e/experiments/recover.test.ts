import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { openDataFolder } from '@interlock/local/data-folder.ts';
import { type LocalCloud, startLocalCloud } from '@interlock/local/local-cloud.ts';
import { removeServer } from '@interlock/local/unprivileged.ts';
import { type Outside, openOutside } from '../cloud/clients.ts';
import { killAndRecover, openVictim, type Victim } from './test-kills.ts';

const data = openDataFolder(mkdtempSync(join(tmpdir(), 'interlock-recover-')));
let cloud: LocalCloud;
let outside: Outside;
let victim: Victim;
before(async () => {
  // Servers from outside belong to others: they must not be killed.
  const { DATABASE_URL: _, NATS_URL: __, ...env } = process.env;
  cloud = await startLocalCloud({ data, env });
  outside = openOutside(cloud);
  victim = await openVictim(data.root, outside.administrator);
});
after(async () => {
  outside?.close();
  await cloud?.stop();
  removeServer(data);
  rmSync(data.root, { recursive: true });
});

for (const seed of [2, 11, 28]) {
  test(`a runner that is killed with SIGKILL (seed ${seed}): recover gives keys back and restarts processes, once`, async (t) => {
    const { atMs, left, wrong } = await killAndRecover(victim, seed);
    t.diagnostic(`killed ${atMs} ms after the start of the timeline; left ${left.join(', ') || 'nothing'}`);
    assert.deepEqual(wrong, []);
  });
}
