import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { readHistory } from '@interlock/lab/judge/journal/history';
import { livelyOn } from '../cloud/returned.ts';
import { type OwnCloud, ownCloud } from '../cloud/test-cloud.ts';
import { makeWorld, type World } from '../cloud/world.ts';

/** How long Postgres is down, in milliseconds: longer than every lease, shorter than reads and writes may wait. */
const awayMs = 15_000;
const settings = {
  AUTHZ_TTL_MS: '1000',
  LEASE_TTL_MS: '5000',
  HOST_LEASE_TTL_MS: '3000',
  IO_PAUSE_TIMEOUT_MS: '60000',
  GUEST_IO_TIMEOUT_MS: '60000',
};

let own: OwnCloud;
let world: World;
before(async () => {
  own = await ownCloud(settings);
  world = await makeWorld(own.clients, [['PREMIUM_SSD'], ['platform']]);
});
after(() => own?.stop());

test('G5: while Postgres is down, reads and writes wait, and none fails within the allowed pause', async () => {
  const disks = world.machines.map((_, n) => `${world.group}/disks/vm${n}-d0`);
  const history = () => readHistory(join(own.folder, 'services', 'compute', 'guests'), world.machines);
  await livelyOn(history, Date.now(), disks);
  await own.cloud.postgres.kill();
  await sleep(awayMs);
  await own.cloud.postgres.restart();
  await livelyOn(history, Date.now(), disks);
  const all = history();
  assert.deepEqual(
    all.filter(({ ok }) => !ok),
    [],
  );
  const longestMs = Math.max(...all.map(({ invokedAt, completedAt }) => completedAt - invokedAt));
  assert.ok(longestMs > 3_000, `${longestMs} ms: the leases have ended, or nothing was tested`);
  for (const name of world.machines) {
    const { powerState } = await own.clients.compute.getVirtualMachine({ name });
    assert.equal(powerState, 'RUNNING');
  }
});
