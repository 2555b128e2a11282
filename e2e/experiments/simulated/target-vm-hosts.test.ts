import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { problemLines, readExperiment } from '@interlock/lab';
import { playExperiment } from './play-experiment.ts';
import { simulatedTarget } from './target.ts';
import { experimentOf } from './test-runs.ts';

/** The experiment of a file in `../files`. */
const experimentIn = (name: string) => {
  const path = new URL(`../files/${name}.experiment.yaml`, import.meta.url);
  const read = readExperiment(readFileSync(path, 'utf8'));
  if ('problems' in read) assert.fail(problemLines(name, read.problems).join('\n'));
  return read.experiment;
};

for (const file of [
  'a-vm-host-comes-back',
  'a-vm-host-is-lost',
  'an-evacuation-is-interrupted',
  'a-drain-under-a-revocation',
  'hosts-are-cut-apart',
])
  test(`G2 G3 G5: ${file} holds in virtual time, with VM hosts`, async () => {
    const { outcome, because, broken } = await playExperiment(experimentIn(file), 3);
    assert.equal(outcome, 'held', `${because} ${JSON.stringify(broken)}`);
  });

test('G2: guests at a VM host do not reach a disk host that the VM host is cut off from', async () => {
  const file = experimentIn('hosts-are-cut-apart');
  const timeline = file.timeline.filter(({ name }) => name !== 'from-disks');
  const { outcome, because } = await playExperiment({ ...file, timeline }, 3);
  assert.equal(outcome, 'violated', because);
  assert.match(because, /control\.gap >= 3s/);
});

test('the simulation refuses what no VM host has there', () => {
  const { estate, ...usual } = experimentOf(['at: 0s, disable-key: premium, for: 5s']);
  assert.equal(estate.kind, 'planned');
  const [step] = usual.timeline;
  assert.ok(step);
  const messages = (action: 'shift-clock' | 'fill-storage' | 'slow') =>
    simulatedTarget(1)
      .refuse({ ...usual, estate, timeline: [{ ...step, action, targets: ['vm-host-0'] }] })
      .map(({ message }) => message);
  assert.deepEqual(messages('shift-clock'), ['the simulation cannot do shift-clock to vm-host-0']);
  assert.deepEqual(messages('fill-storage'), ['the simulation cannot do fill-storage to vm-host-0']);
  assert.deepEqual(messages('slow'), []);
});
