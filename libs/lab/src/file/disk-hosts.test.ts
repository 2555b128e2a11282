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
  assert.match(problemsOf(fileOf('cut: [disk-host-0, disk-host-1], for: 1s')), /disk hosts do not call each other/);
  assert.match(
    problemsOf(fileOf('kill: nats, for: 1s', 'diskHosts: 8, ')),
    /must be a whole number from 1 to 7, not 8/,
  );
  assert.match(
    problemsOf(fileOf('kill: nats, for: 1s', 'disk-host-0: {machines: 1, disks: [premium-ssd], key: k3}, ')),
    /the name of the group, "disk-host-0", has another meaning here/,
  );
});
