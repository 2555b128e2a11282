import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openDataFolder } from '@interlock/local/data-folder.ts';
import { type LocalCloud, startLocalCloud } from '@interlock/local/local-cloud.ts';
import { removeServer } from '@interlock/local/unprivileged.ts';
import { livelyOn } from '../chaos/returned.ts';
import { type Outside, openOutside } from '../cloud/clients.ts';
import { makeWorld, type World } from '../cloud/world.ts';
import { readHistory } from '../oracle/journal/history.ts';

/** How long Postgres is away, in milliseconds: longer than every lease, shorter than reads and writes may wait. */
const awayMs = 15_000;
const settings = {
  AUTHZ_TTL_MS: '1000',
  LEASE_TTL_MS: '5000',
  HOST_LEASE_TTL_MS: '3000',
  IO_PAUSE_TIMEOUT_MS: '60000',
  GUEST_IO_TIMEOUT_MS: '60000',
};

let cloud: LocalCloud;
let outside: Outside;
let world: World;
const folder = mkdtempSync(join(tmpdir(), 'interlock-postgres-'));
before(async () => {
  // Its own Postgres, which the test stops.
  const { DATABASE_URL: _, NATS_URL: __, ...env } = process.env;
  cloud = await startLocalCloud({ data: openDataFolder(folder), env, settings });
  outside = openOutside(cloud);
  world = await makeWorld(outside.administrator, [['PREMIUM_SSD'], ['platform']]);
});
after(async () => {
  outside?.close();
  await cloud?.stop();
  removeServer(openDataFolder(folder));
  rmSync(folder, { recursive: true, force: true });
});

test('G5: while Postgres is away reads and writes wait, and none fails within the pause that is allowed', async () => {
  const disks = world.machines.map((_, n) => `${world.group}/disks/vm${n}-d0`);
  const history = () => readHistory(join(folder, 'services', 'compute', 'guests'), world.machines);
  await livelyOn(history, Date.now(), disks);
  await cloud.postgres.kill();
  await sleep(awayMs);
  await cloud.postgres.restart();
  await livelyOn(history, Date.now(), disks);
  const all = history();
  assert.deepEqual(
    all.filter(({ ok }) => !ok),
    [],
  );
  const longestMs = Math.max(...all.map(({ invokedAt, completedAt }) => completedAt - invokedAt));
  assert.ok(longestMs > 3_000, `${longestMs} ms: the leases have ended, or nothing was tested`);
  for (const name of world.machines) {
    const { powerState } = await outside.administrator.compute.getVirtualMachine({ name });
    assert.equal(powerState, 'RUNNING');
  }
});
