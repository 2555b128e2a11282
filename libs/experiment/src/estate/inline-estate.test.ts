import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readExperiment } from '../file/read-experiment.ts';
import { inlineEstate } from './inline-estate.ts';

const twin = `
location: westeurope
vaults:
  - {name: kv1, keys: [{name: db}, {name: app}]}
  - {name: kv2, keys: [{name: app}]}
sets: [{name: s1, key: kv1/db}, {name: s2, key: kv1/app}, {name: s3, key: kv2/app}]
disks:
  - {name: a, class: premium-ssd, gib: 1, set: s1}
  - {name: b, class: standard-ssd, gib: 1}
  - {name: c, class: ultra, gib: 1, set: s2}
  - {name: d, class: standard-hdd, gib: 1, set: s3}
  - {name: e, class: standard-hdd, gib: 1}
machines:
  - {name: db, osDisk: a}
  - {name: web_01.east, osDisk: b, dataDisks: [{lun: 0, disk: c}]}
  - {name: 7zip, osDisk: d}
  - {name: off, osDisk: e, running: false}
`;
const experiment = `title: the twin
estate: twin.yaml   # made by estate from-azure
timeline: [{at: 1s, disable-key: db, as: loss}, {at: 9s, give-back: loss, start: true}]
expect: [db-vm.stopped <= 5s, web-01-east.running]
`;
const inlined = (text: string, file = twin): string => {
  const made = inlineEstate(text, () => file);
  assert.ok('text' in made, JSON.stringify(made));
  return made.text;
};

test('an experiment with an estate file has each running machine as a group with its name', () => {
  const read = readExperiment(inlined(experiment));
  assert.ok('experiment' in read, JSON.stringify(read));
  const { estate, expect } = read.experiment;
  assert.ok(estate.kind === 'planned');
  assert.deepEqual(
    estate.groups.map(({ name, machines, disks }) => [
      name,
      machines,
      disks.map((disk) => `${disk.class} ${disk.key}`),
    ]),
    [
      ['db-vm', 1, ['premium-ssd db']],
      ['web-01-east', 1, ['standard-ssd platform', 'ultra app']],
      ['vm-7zip', 1, ['standard-hdd kv2-app']],
    ],
  );
  assert.equal(expect[0]?.line, 4);
});

test('a text that names no estate file is returned unchanged', () => {
  for (const text of ['estate: {premium: {machines: 1}}\n', 'estate: [', '', 'title: x\n'])
    assert.equal(inlined(text), text);
});

test('a missing, invalid or empty estate file is reported at the line of estate', () => {
  const problems = (read: () => string) => {
    const made = inlineEstate(experiment, read);
    assert.ok('problems' in made);
    return made.problems.map(({ line, message }) => `${line}: ${message}`).join('\n');
  };
  const missing = () => {
    throw new Error('ENOENT');
  };
  assert.match(problems(missing), /^2: the estate file twin\.yaml cannot be read: ENOENT/);
  assert.match(
    problems(() => 'location: x\n'),
    /^2: twin\.yaml:1: the file has no vaults/m,
  );
  const nothing = 'location: x\nvaults: []\nsets: []\ndisks: []\nmachines: []\n';
  assert.match(
    problems(() => nothing),
    /^2: the estate file twin\.yaml has no running machine/,
  );
  const unresolved = readExperiment(experiment);
  assert.ok(
    'problems' in unresolved &&
      /estate names the file "twin\.yaml", which was not read/.test(unresolved.problems[0]?.message ?? ''),
  );
});
