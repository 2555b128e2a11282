import assert from 'node:assert/strict';
import { mkdirSync, mkdtempSync, rmSync, symlinkSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { readExperiment } from '../file/read-experiment.ts';
import { experimentTextOf, inlineEstate } from './inline-estate.ts';

const root = mkdtempSync(join(tmpdir(), 'interlock-estate-'));
after(() => rmSync(root, { recursive: true, force: true }));

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
  const made = inlineEstate(text, () => ({ text: file, isShown: true }));
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
    const made = inlineEstate(experiment, () => ({ text: read(), isShown: true }));
    assert.ok('problems' in made);
    return made.problems.map(({ line, message }) => `${line}: ${message}`).join('\n');
  };
  const missing = () => {
    throw new Error('ENOENT');
  };
  assert.match(problems(missing), /^2: the estate file twin\.yaml cannot be read: ENOENT/);
  assert.match(
    problems(() => 'location: x\n'),
    /^2: twin\.yaml:1:1: the file has no vaults/m,
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

test('an estate outside of the folder of the experiment can be used, and errors show its place but nothing of its content', () => {
  const folder = join(root, 'experiments');
  mkdirSync(folder);
  writeFileSync(join(root, 'twin.yaml'), twin);
  writeFileSync(join(root, 'shadow'), 'root:$6$secret:1:\nother: [\n');
  writeFileSync(join(root, 'values'), '{location: secret, vaults: secret}\n');
  symlinkSync(join(root, 'shadow'), join(folder, 'link.yaml'));
  const file = join(folder, 'x.experiment.yaml');
  const read = (estate: string) => {
    writeFileSync(file, experiment.replace('twin.yaml', estate));
    return experimentTextOf(file);
  };
  assert.ok('text' in read('../twin.yaml'));
  for (const estate of ['../shadow', join(root, 'shadow'), 'link.yaml', '../values']) {
    const made = read(estate);
    assert.ok('problems' in made);
    const [problem] = made.problems;
    assert.equal(made.problems.length, 1, 'their number would tell of the content');
    assert.match(problem?.message ?? '', /^(\S+):\d+:\d+: this is no estate; what is there is not shown/);
    assert.ok(problem?.message.startsWith(estate));
    assert.doesNotMatch(JSON.stringify(made), /secret|root:|other/);
  }
});

test('an estate that is no regular file is refused at once', () => {
  const file = join(root, 'device.experiment.yaml');
  writeFileSync(file, experiment.replace('twin.yaml', '/dev/zero'));
  const made = experimentTextOf(file);
  assert.ok('problems' in made);
  assert.match(made.problems[0]?.message ?? '', /cannot be read: \/dev\/zero is a device; only regular files are read/);
});
