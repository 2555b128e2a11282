import assert from 'node:assert/strict';
import { mkdtempSync, readFileSync, rmSync, statSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { openDataFolder } from '../data-folder.ts';
import { type LocalCloud, startLocalCloud } from '../local-cloud.ts';
import { removeServer } from '../unprivileged.ts';
import type { CloudControl, CloudPart } from './cloud-control.ts';
import { callControl, controlAt } from './control-client.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-control-'));
let cloud: LocalCloud;
let path: string;
let control: CloudControl;
before(async () => {
  // Only servers that this cloud started may be killed, so none are taken from the environment.
  const { DATABASE_URL: _, NATS_URL: __, ...env } = process.env;
  cloud = await startLocalCloud({ data: openDataFolder(folder), env, services: ['identity'] });
  path = JSON.parse(readFileSync(join(folder, 'cloud.json'), 'utf8')).control;
  control = controlAt(path);
});
after(async () => {
  await cloud?.stop();
  removeServer(openDataFolder(folder));
  rmSync(folder, { recursive: true });
});

const stateOf = async (wanted: CloudPart): Promise<string | undefined> =>
  (await control.processes()).find(({ part }) => part === wanted)?.state;
const untilState = async (part: CloudPart, state: string): Promise<void> => {
  while ((await stateOf(part)) !== state) await sleep(20);
};

test('lists every part that was started, with its process', async () => {
  const found = await control.processes();
  assert.deepEqual(
    found.map(({ name, state }) => [name, state]),
    [
      ['identity', 'running'],
      ['nats', 'running'],
      ['postgres', 'running'],
    ],
  );
  assert.deepEqual(
    found.map(({ pid }) => pid),
    [cloud.pid('identity'), cloud.nats.pid, cloud.postgres.pid],
  );
});

test('only the user of the launcher can reach its socket', () => {
  assert.equal(statSync(folder).mode & 0o077, 0);
});

for (const part of ['identity', 'nats', 'postgres'] as const) {
  test(`calls on the control socket pause, resume, kill and restart ${part}`, { timeout: 60_000 }, async () => {
    await control.pause(part);
    await untilState(part, 'paused');
    await control.resume(part);
    await untilState(part, 'running');
    await control.kill(part);
    assert.equal(await stateOf(part), 'down');
    await control.restart(part);
    assert.equal(await stateOf(part), 'running');
  });
}

test('the launcher resumes or restarts a part after the requested time', { timeout: 60_000 }, async () => {
  await callControl(path, 'pause', { part: 'identity', forMs: 100 });
  await untilState('identity', 'running');
  await callControl(path, 'kill', { part: 'identity', forMs: 100 });
  assert.equal(await stateOf('identity'), 'down');
  await untilState('identity', 'running');
});

test('refuses an unknown part, an unknown call and a part that was not started, with the reason', async () => {
  await assert.rejects(callControl(path, 'kill', { part: 'moon' as CloudPart }), /part must be one of .*\(got moon\)/);
  await assert.rejects(callControl(path, 'explode' as 'kill'), /no call is named explode/);
  await assert.rejects(control.kill('compute'), /compute was not started in this cloud/);
  await assert.rejects(callControl(join(folder, 'gone.sock'), 'processes'), /the launcher does not respond/);
});
