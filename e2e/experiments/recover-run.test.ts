import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { beginEvidence } from '@interlock/experiment';
import { recoverRun } from './recover-run.ts';
import { type RunPlace, thisRunner } from './run-file.ts';

const root = mkdtempSync(join(tmpdir(), 'interlock-recover-run-'));
after(() => rmSync(root, { recursive: true }));

/** A run whose evidence was begun. */
const begun = (name: string, place: RunPlace): string => {
  const folder = join(root, name);
  beginEvidence(folder, 'title: one\n', place);
  return folder;
};
const gone: NonNullable<RunPlace['runner']> = { pid: process.pid, startedAt: 'of another process' };

test('a run that is under way is not recovered', async () => {
  const folder = begun('running', { target: 'local', data: root, runner: thisRunner() });
  await assert.rejects(
    recoverRun(folder, () => undefined),
    /is under way, as process \d+: end that first/,
  );
  assert.ok(existsSync(root));
});

test('the folder of an own cloud is removed once its runner is gone, and a second recovery finds nothing', async () => {
  const data = join(root, 'cloud');
  mkdirSync(join(data, 'services'), { recursive: true });
  const folder = begun('own', { target: 'local', data, runner: gone });
  const lines: string[] = [];
  for (let count = 0; count < 2; count += 1) assert.equal(await recoverRun(folder, (line) => lines.push(line)), 0);
  assert.ok(!existsSync(data));
  assert.deepEqual(
    lines.map((line) => line.replace(data, 'DATA')),
    [
      'the cloud of the run ended with its runner; removed its folder DATA',
      'the cloud of the run is gone, with everything that was done to it',
    ],
  );
});

test('a simulated run left nothing, and a kept cloud that is gone is named', async () => {
  const simulated = begun('simulated', { target: 'simulated' });
  assert.equal(await recoverRun(simulated, () => undefined), 0);
  const existing = begun('existing', { target: 'existing', data: join(root, 'absent'), runner: gone });
  assert.equal(await recoverRun(existing, () => undefined), 0, 'no step was begun');
});
