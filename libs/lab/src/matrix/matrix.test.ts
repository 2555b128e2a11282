import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readExperiment } from '../file/read-experiment.ts';
import { readMatrix } from './matrix.ts';

const file = (matrix: string, timeline = '- { at: 1s, disable-key: premium, as: loss }') => `title: t
estate:
  premium: { machines: 1, disks: [premium-ssd], key: k1 }
  mixed: { machines: 1, disks: [standard-ssd: platform, premium-ssd: k1, standard-hdd: k2], key: k2 }
  control: { machines: 1, disks: [premium-ssd], key: platform }
timeline:
  ${timeline}
  - { at: 9s, give-back: loss }
expect: [premium.stopped <= loss + 3s]
matrix:
${matrix}`;

const small = `  causes: [delete-key, { remove-permission: unwrap }]
  classes: [standard-hdd, { ultra: [premium.running] }]
  faults: [none, { at: 0s, kill: nats, for: 5s }]`;

const casesOf = (text: string) => {
  const read = readMatrix(text) ?? assert.fail('no matrix');
  return 'cases' in read ? read.cases : assert.fail(JSON.stringify(read.problems));
};

test('a matrix expands to one experiment for each cause, class and fault', () => {
  const cases = casesOf(file(small));
  assert.deepEqual(
    cases.map(({ title }) => title),
    [
      'delete-key, standard-hdd, none',
      'delete-key, standard-hdd, kill nats',
      'delete-key, ultra, none',
      'delete-key, ultra, kill nats',
      'remove-permission, standard-hdd, none',
      'remove-permission, standard-hdd, kill nats',
      'remove-permission, ultra, none',
      'remove-permission, ultra, kill nats',
    ],
  );
  const { experiment } = cases.at(-1) ?? assert.fail();
  assert.deepEqual(
    experiment.timeline.map(({ name, action, options }) => [name, action, options.permission]),
    [
      ['kill-nats', 'kill', undefined],
      ['loss', 'remove-permission', 'unwrap'],
      [experiment.timeline.at(-1)?.name, 'give-back', undefined],
    ],
  );
  assert.deepEqual(
    experiment.expect.map(({ text }) => text),
    ['premium.running'],
  );
  for (const { text, experiment: own } of cases) assert.deepEqual(readExperiment(text), { experiment: own });
});

test('only disks under the lost key get another class, and each machine has an OS disk that can boot', () => {
  const { experiment } = casesOf(file(small)).at(2) ?? assert.fail();
  assert.ok(experiment.estate.kind === 'planned');
  const disks = experiment.estate.groups.map(({ name, disks: own }) => [
    name,
    own.map((disk) => `${disk.class}: ${disk.key}`),
  ]);
  assert.deepEqual(disks, [
    ['premium', ['standard-ssd: platform', 'ultra: k1']],
    ['mixed', ['standard-ssd: platform', 'ultra: k1', 'standard-hdd: k2']],
    ['control', ['premium-ssd: platform']],
  ]);
});

test('a file without a matrix gives undefined; a matrix that cannot be expanded is reported with its line', () => {
  assert.equal(readMatrix(file(small).replace(/\nmatrix:[\s\S]*/, '\n')), undefined);
  const two = file(
    small,
    '- { at: 1s, disable-key: premium, as: loss, for: 2s }\n  - { at: 1s, delete-key: k2, as: loss }',
  );
  assert.match(JSON.stringify(readMatrix(two)), /problems/);
  const none = file(small, '- { at: 1s, kill: nats, as: loss }').replace(
    'premium.stopped <= loss + 3s',
    'control.gap <= 1s',
  );
  assert.match(JSON.stringify(readMatrix(none)), /"line":10,"message":"a matrix replaces the one step/);
  const wrong = file(small.replace('premium.running', 'other.running'));
  assert.match(JSON.stringify(readMatrix(wrong)), /"line":10,"message":"the case delete-key, ultra, none: /);
  const read = readExperiment(file('  causes: [kill]\n  classes: [premium-ssd]\n  faults: [none]'));
  assert.match(JSON.stringify(read), /"line":11/);
});
