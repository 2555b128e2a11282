import assert from 'node:assert/strict';
import { existsSync, mkdirSync, mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { beginEvidence } from '@interlock/lab';
import { recoverRun } from './recover-run.ts';
import { type RunPlace, thisRunner } from './run-file.ts';

const root = mkdtempSync(join(tmpdir(), 'interlock-recover-run-'));
after(() => rmSync(root, { recursive: true }));

/** Creates the evidence folder of a run that was started. */
const begun = (name: string, place: RunPlace): string => {
  const folder = join(root, name);
  beginEvidence(folder, 'title: one\n', place);
  return folder;
};
const gone: NonNullable<RunPlace['runner']> = { pid: process.pid, startedAt: 'of another process' };

test('refuses to recover a run that is still running', async () => {
  const folder = begun('running', { target: 'local', data: root, runner: thisRunner() });
  await assert.rejects(
    recoverRun(folder, () => undefined),
    /is under way, as process \d+: end that first/,
  );
  assert.ok(existsSync(root));
});

test("removes the folder of the run's own cloud once its runner is gone; a second recovery finds nothing", async () => {
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

test('there is nothing to recover after a simulated run, or if the existing cloud is gone', async () => {
  const simulated = begun('simulated', { target: 'simulated' });
  assert.equal(await recoverRun(simulated, () => undefined), 0);
  const existing = begun('existing', { target: 'existing', data: join(root, 'absent'), runner: gone });
  assert.equal(await recoverRun(existing, () => undefined), 0, 'no step was begun');
});
