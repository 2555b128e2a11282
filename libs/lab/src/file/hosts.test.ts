import assert from 'node:assert/strict';
import { test } from 'node:test';
import { problemLines, readExperiment } from './read-experiment.ts';

const fileOf = (step: string, hosts = 'diskHosts: 2, ', expect = 'control.running'): string => `title: a test
estate: {${hosts}premium: {machines: 1, disks: [premium-ssd], key: k1}, control: {machines: 1, disks: [premium-ssd], key: k2}}
timeline: [{at: 1s, ${step}}]
expect: [${expect}]
`;

const problemsOf = (text: string): string => {
  const read = readExperiment(text);
  return 'problems' in read ? problemLines('x.yaml', read.problems).join('\n') : '';
};

test('a disk host is a target by its number, or by the group whose disks it has', () => {
  const read = readExperiment(
    fileOf(
      'kill: {disk-host-of: premium}, for: 2s',
      undefined,
      'control.gap <= 1s, control.lastGoodIo >= disk-host-of-premium.killed',
    ),
  );
  assert.ok('experiment' in read, problemsOf(fileOf('kill: {disk-host-of: premium}, for: 2s')));
  const { timeline, estate } = read.experiment;
  assert.deepEqual(
    timeline.map(({ name, targets }) => [name, targets]),
    [['kill-disk-host-of-premium', ['disk-host-of-premium']]],
  );
  assert.equal(estate.kind === 'planned' && estate.diskHosts, 2);
  for (const step of [
    'pause: disk-host-1, for: 1s',
    'restart: disk-host-0',
    'slow: disk-host-0, by: 1s, for: 1s',
    'cut: [disk-host-0, disk], for: 1s',
    'cut: [{disk-host-of: premium}, postgres], for: 1s',
    'cut: [nats, disk-host-1], for: 1s',
    'cut: [disk-host-0, disk-host-1], for: 1s',
    'drain-host: disk-host-0, for: 1s',
    'lose-host: {disk-host-of: premium}',
    'move-disk: premium, to: disk-host-1',
    'shift-clock: disk-host-1, by: 5m, for: 1s',
    'fill-storage: disk-host-of-premium, for: 1s',
  ])
    assert.equal(problemsOf(fileOf(step)), '', step);
});

test('a disk host that the estate does not have is refused with the reason and a cure', () => {
  assert.match(
    problemsOf(fileOf('kill: disk-host-0, for: 1s', '')),
    /^x.yaml:3: "kill-disk-host-0" names disk-host-0, and the estate has no disk hosts of their own. Add diskHosts: 3/,
  );
  assert.match(
    problemsOf(fileOf('kill: disk-host-2, for: 1s')),
    /the estate has diskHosts: 2. Name disk-host-0 to disk-host-1/,
  );
  assert.match(
    problemsOf(fileOf('kill: {disk-host-of: premum}, for: 1s')),
    /"premum" is no group of the estate. Did you mean premium\?/,
  );
  assert.match(problemsOf(fileOf('kill: disk-hots-0, for: 1s')), /must be a part of the cloud .* disk-host-<number>/);
  assert.match(problemsOf(fileOf('fill-storage: disk, for: 1s')), /only disk hosts have volumes. Name one of them/);
  assert.match(
    problemsOf(fileOf('kill: nats, for: 1s', 'diskHosts: 8, ')),
    /must be a whole number from 1 to 7, not 8/,
  );
  assert.match(
    problemsOf(fileOf('kill: nats, for: 1s', 'disk-host-0: {machines: 1, disks: [premium-ssd], key: k3}, ')),
    /the name of the group, "disk-host-0", has another meaning here/,
  );
});

test('a VM host is a target by its number, or by the group whose guests it runs', () => {
  for (const step of [
    'kill: {vm-host-of: premium}, for: 2s',
    'pause: vm-host-1, for: 1s',
    'cut: [vm-host-0, compute], for: 1s',
    'cut: [{vm-host-of: premium}, disk-host-0], for: 1s',
    'shift-clock: vm-host-1, by: 5m, for: 1s',
    'drain-host: vm-host-0, for: 1s',
    'lose-host: {vm-host-of: premium}',
  ])
    assert.equal(problemsOf(fileOf(step, 'diskHosts: 2, vmHosts: 2, ')), '', step);
});

test('a VM host that the estate lacks, and what cannot be done to one, is refused with the reason and a cure', () => {
  const both = 'diskHosts: 1, vmHosts: 1, ';
  assert.match(problemsOf(fileOf('pause: vm-host-0, for: 1s', '')), /no VM hosts of their own. Add vmHosts: 3/);
  assert.match(problemsOf(fileOf('pause: vm-host-1, for: 1s', both)), /vmHosts: 1. Name vm-host-0 to vm-host-0/);
  assert.match(problemsOf(fileOf('fill-storage: vm-host-0, for: 1s', both)), /a VM host has no disks of machines/);
  assert.match(problemsOf(fileOf('drain-host: vm-host-0', both)), /no other host for what is there. Write vmHosts: 2/);
  assert.match(problemsOf(fileOf('move-disk: premium, to: k2', both)), /which is no disk host. Write to: disk-host-1/);
  assert.match(problemsOf(fileOf('drain-host: compute', both)), /must be disk-host-<number>, vm-host-<number>/);
  assert.match(
    problemsOf(fileOf('cut: [vm-host-0, vm-host-1], for: 1s', 'vmHosts: 2, ')),
    /VM hosts do not call each other/,
  );
});

test('a value of hosts that nothing of the timeline can change is refused, and so is one that is counted from a loss', () => {
  const both = 'diskHosts: 2, vmHosts: 2, ';
  const of = (expect: string, step = 'drain-host: vm-host-0, as: drain', hosts = both): string =>
    problemsOf(fileOf(step, hosts, expect));
  for (const good of ['premium.moved <= drain + 5s', 'vm-host-0.drained <= drain + 5s', 'premium.fenced <= drain + 5s'])
    assert.equal(of(good), '', good);
  assert.match(of('premium.disksMoved <= drain + 5s'), /no step does anything to disk hosts. Add move-disk/);
  assert.match(of('premium.moved <= a + 5s', 'drain-host: disk-host-0, as: a'), /no step does anything to VM hosts/);
  assert.match(of('premium.moved <= a + 5s', 'pause: compute, for: 1s, as: a', 'diskHosts: 2, '), /Add vmHosts: 3/);
  assert.match(of('premium.moved <= 5s'), /Write premium.moved <= <step> \+ 5s/);
  assert.match(of('vm-host-1.drained <= drain + 5s'), /no step does that to vm-host-1. Add drain-host: vm-host-1/);
  assert.match(of('vm-host-0.lost <= drain + 5s'), /Add lose-host: vm-host-0/);
});
