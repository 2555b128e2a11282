import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readExperiment } from '@interlock/lab';
import { simulatedTarget } from '../../simulated/target.ts';
import { drawnExperiment } from './drawn-experiment.ts';

const seeds = Array.from({ length: 200 }, (_, index) => index + 1);

test('each seed draws a valid experiment for the simulation, the same each time', () => {
  for (const seed of seeds) {
    const text = drawnExperiment(seed);
    assert.equal(drawnExperiment(seed), text);
    const read = readExperiment(text);
    assert.ok('experiment' in read, text);
    assert.deepEqual(simulatedTarget(seed).refuse(read.experiment), []);
  }
});

test('the draws have estates of 1 to 40 machines, shared and separate keys, ultra disks, every loss, faults and user actions', () => {
  const texts = seeds.map(drawnExperiment);
  const machines = texts.map((text) =>
    [...text.matchAll(/machines: (\d+)/g)].reduce((sum, [, count]) => sum + Number(count), 0),
  );
  assert.ok(Math.min(...machines) >= 1 && Math.max(...machines) <= 40);
  assert.ok(machines.some((count) => count === 1) && machines.some((count) => count >= 20));
  const keysOf = (text: string): readonly string[] => [...text.matchAll(/key: (k\d)/g)].map(([, key]) => key ?? '');
  const isShared = (keys: readonly string[]): boolean => new Set(keys).size < keys.length;
  assert.ok(texts.some((text) => isShared(keysOf(text))) && texts.some((text) => !isShared(keysOf(text))));
  for (const wanted of [
    ...['disable-key', 'delete-key', 'expire-key', 'not-yet-valid', 'remove-policy', 'remove-role', 'delete-identity'],
    ...['set-identity-none', 'delete-vault', 'switch-permission-model', 'rotate-key', 'snapshot', 'stop', 'start'],
    ...['pause', 'kill', 'cut', 'give-back', 'ultra', 'leave: true'],
  ])
    assert.ok(texts.filter((text) => text.includes(wanted)).length >= 5, wanted);
});
