import assert from 'node:assert/strict';
import { type ChildProcess, execFileSync, spawn, spawnSync } from 'node:child_process';
import { once } from 'node:events';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { openHistory } from '@interlock/lab/judge/journal/history';
import { openDataFolder, repository } from '@interlock/local/data-folder.ts';
import { startLocalCloud } from '@interlock/local/local-cloud.ts';
import { removeServer } from '@interlock/local/unprivileged.ts';
import { type OutsideOf, openOutside, patient } from '../cloud/clients.ts';
import { livelyOn, notFound } from '../cloud/returned.ts';
import { withoutTelemetry } from '../cloud/test-cloud.ts';
import { until } from '../cloud/until.ts';
import { makeWorld, startAgain, untilPower } from '../cloud/world.ts';

// The data of an older version under this one, as after an upgrade. Half a minute, and the packages of that version. In `npm test`,
// the tests of state versions and of upcasters prove that old rows and events are read.

/** Before several disk hosts, disks that move, and key losses of hosts in the store. */
const older = '14bb1728';

const git = (...args: readonly string[]): string =>
  execFileSync('git', args, { cwd: repository, encoding: 'utf8', stdio: ['ignore', 'pipe', 'pipe'] }).trim();
const isThere = spawnSync('git', ['cat-file', '-e', `${older}^{commit}`], { cwd: repository }).status === 0;
const skip = isThere ? false : `this clone has no commit ${older}: git fetch --unshallow`;

const folder = mkdtempSync(join(tmpdir(), 'interlock-older-data-'));
const data = openDataFolder(join(folder, 'data'));
const worktree = join(repository, '.interlock/older-data');
// Servers of their own, which both versions start.
const { DATABASE_URL: _, NATS_URL: __, NODE_TEST_CONTEXT: ___, ...env } = process.env;
let running: ChildProcess | undefined;

after(() => {
  if (running?.pid !== undefined && running.exitCode === null) process.kill(-running.pid, 'SIGKILL');
  removeServer(data);
  rmSync(folder, { recursive: true, force: true });
  removeWorktree();
});

/** Also removes what a run that was killed has left. */
const removeWorktree = (): void => {
  if (existsSync(worktree)) git('worktree', 'remove', '--force', worktree);
};

/** What `cloud.json` says. */
const described = (): OutsideOf => {
  const { addresses, authorityFile, administratorFile } = JSON.parse(readFileSync(data.path('cloud.json'), 'utf8'));
  return { addresses, authorityFile, administrator: JSON.parse(readFileSync(administratorFile, 'utf8')) };
};

/** Runs the cloud of the older version while `use` runs, and stops it as Ctrl-C does. */
const underOlder = async <Result>(use: (cloud: OutsideOf) => Promise<Result>): Promise<Result> => {
  removeWorktree();
  git('worktree', 'add', '--detach', worktree, older);
  running = spawn('node', ['deploy/local/bootstrap.mjs', 'deploy/local/up.ts'], {
    cwd: worktree,
    env: { ...env, ...withoutTelemetry, INTERLOCK_DATA: data.root },
    detached: true,
    stdio: ['ignore', 'ignore', 'inherit'],
  });
  await until(
    'the older version runs',
    async () => {
      assert.equal(running?.exitCode, null, 'it has ended');
      return existsSync(data.path('cloud.json'));
    },
    300_000,
  );
  const result = await use(described());
  const ended = once(running, 'exit');
  running.kill('SIGINT');
  assert.deepEqual(await ended, [130, null], 'it ended as after Ctrl-C');
  return result;
};

test('G6, G2: this version has every byte that an older one wrote, stops its machines when the key is lost, and gives it back', {
  skip,
  timeout: 600_000,
}, async () => {
  const { world, disks } = await underOlder(async (cloud) => {
    const outside = openOutside(cloud, patient);
    const made = await makeWorld(outside.administrator, [['PREMIUM_SSD', 'STANDARD_SSD'], ['platform']]);
    const all = (await outside.administrator.disks.listDisks({ parent: made.group })).disks.map(({ name }) => name);
    const read = openHistory(data.path('services/compute/guests'), made.machines);
    await livelyOn(read, 0, all);
    outside.close();
    return { world: made, disks: all };
  });
  const cloud = await startLocalCloud({ data, env, settings: withoutTelemetry });
  try {
    const outside = openOutside(cloud, patient);
    const { keyVault } = outside.administrator;
    const read = openHistory(data.path('services/compute/guests'), world.machines);
    const since = Date.now();
    // Their guests ended with the older version.
    for (const machine of world.machines) await untilPower(outside.administrator, machine, 'STOPPED');
    await startAgain(outside.administrator, world.set, world.machines);
    await livelyOn(read, since, disks);
    assert.deepEqual(notFound(read(), since, disks), [], 'after the upgrade');
    await keyVault.disableKeyVersion({ name: world.keyVersion });
    const [stopped = ''] = world.machines;
    await untilPower(outside.administrator, stopped, 'STOPPED');
    const back = Date.now();
    await keyVault.enableKeyVersion({ name: world.keyVersion });
    await startAgain(outside.administrator, world.set, [stopped]);
    const own = disks.filter((disk) => read().some((io) => io.disk === disk && io.machine === stopped));
    assert.equal(own.length, 2);
    await livelyOn(read, back, own);
    assert.deepEqual(notFound(read(), back, own), [], 'after the key is back');
    outside.close();
  } finally {
    await cloud.stop();
  }
});
