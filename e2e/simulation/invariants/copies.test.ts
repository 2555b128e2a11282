import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openFindings } from '@interlock/lab/judge/findings';
import { DiskContent } from '@interlock/lab/judge/model/content';
import type { CopyUnderWay } from '@interlock/lab/judge/model/copies';
import type { KnownDisk } from '@interlock/lab/judge/model/disks';
import type { Blocker } from '@interlock/lab/judge/model/losses';
import { simulatedSettings } from '../cloud/deployment.ts';
import { createSimulatedCloud } from '../cloud/simulated-cloud.ts';
import { estateImage } from '../runs/estate-image.ts';
import { openTruth } from '../truth/truth.ts';
import { clientsOf, diskName, group } from '../workload/estate.ts';
import { CopyJudge } from './copies.ts';

const { leases, authzTtlMs } = simulatedSettings;

const known = (name: string, isSnapshot: boolean): KnownDisk => ({
  name,
  isSnapshot,
  sku: isSnapshot ? undefined : 'premium_ssd',
  host: 'disk-0',
  set: `set of ${name}`,
  keyVersion: `key of ${name}`,
  volumeId: `volume of ${name}`,
  elsewhere: new Set<string>(),
  attachedTo: '',
  open: undefined,
  closed: undefined,
  movedAtMs: 0,
  isDeleting: false,
  isChanging: false,
});

/** A judge of a snapshot `copy` of a disk `source`, with blockers chosen by the test. */
const judging = () => {
  const source = known('source', false);
  const target = known('copy', true);
  const blockers = new Map<string, readonly Blocker[]>();
  const underWay = new Map<string, CopyUnderWay>();
  const disks = new Map([source, target].map((disk) => [disk.name, disk]));
  const stored = new Set([source.volumeId, target.volumeId]);
  let nowMs = 0;
  const log = openFindings(() => nowMs);
  const judge = new CopyJudge({
    diskHosts: [{ name: 'disk-0', volumes: { volumeIds: () => [...stored], peek: () => undefined } }],
    log,
    truth: {
      nowMs: () => nowMs,
      blockers: ({ name }) => blockers.get(name) ?? [],
      boundAfter: ({ sinceMs, owner }) => sinceMs + leases.ttlMs + (owner === 'identity' ? authzTtlMs : 0),
      disks: { disks, keyVersionOf: ({ name }) => `key of ${name}`, headerOf: () => undefined },
      losses: { access: { modulusOf: () => undefined } },
      contents: new Map(),
      copies: { underWay },
    },
  });
  return {
    judge,
    log,
    source,
    underWay,
    disks,
    stored,
    lose: (name: string, owner: Blocker['owner'] = 'key-vault') =>
      blockers.set(name, [{ reason: 'ACCESS_DENIED', sinceMs: 1_000, owner }]),
    /** The copy is recorded. */
    recordAt(ms: number) {
      nowMs = ms;
      judge.onMade({ name: 'copy', source: { ...source }, target, content: new DiskContent() });
    },
  };
};

/** The bound of a loss at 1 s that the vault decided. */
const boundMs = 1_000 + leases.ttlMs;

test('judge of copies, G1: a copy must not be recorded after the bound if the key of its source or target was lost', () => {
  for (const end of ['source', 'copy']) {
    const inTime = judging();
    inTime.lose(end);
    inTime.recordAt(boundMs);
    assert.equal(inTime.log.violation, undefined);
    const late = judging();
    late.lose(end);
    late.recordAt(boundMs + 1);
    assert.equal(late.log.violation?.guarantee, 'G1');
  }
  const unharmed = judging();
  unharmed.recordAt(boundMs + 1);
  assert.equal(unharmed.log.violation, undefined);
});

test('judge of copies, G1: for a loss that identity decided, the bound includes the cache time of decisions', () => {
  const inTime = judging();
  inTime.lose('source', 'identity');
  inTime.recordAt(boundMs + authzTtlMs);
  assert.equal(inTime.log.violation, undefined);
  const late = judging();
  late.lose('source', 'identity');
  late.recordAt(boundMs + authzTtlMs + 1);
  assert.equal(late.log.violation?.guarantee, 'G1');
});

test('judge of copies, G1: the current key of a source that was deleted or has another set does not count', () => {
  const gone = judging();
  gone.lose('source');
  gone.source.set = 'another set';
  const moved = { ...gone.source, set: 'set of source' };
  gone.judge.onMade({ name: 'copy', source: moved, target: known('copy', true), content: new DiskContent() });
  assert.equal(gone.log.violation, undefined);
  const deleted = judging();
  deleted.lose('source');
  deleted.disks.delete('source');
  deleted.recordAt(boundMs + 1);
  assert.equal(deleted.log.violation, undefined);
});

test('judge of copies, G2: at the end no copy or deletion may be in progress, and no files may be left over', () => {
  const settled = judging();
  settled.judge.checkAll(settled.log);
  assert.equal(settled.log.violation, undefined);

  const making = judging();
  const capture = new DiskContent().beginCapture();
  making.underWay.set('v', { name: 'copy', volumeId: 'v', from: 'source', source: undefined, capture });
  making.judge.checkAll(making.log);
  assert.match(making.log.violation?.actual ?? '', /in progress/);

  const deleting = judging();
  deleting.source.isDeleting = true;
  deleting.judge.checkAll(deleting.log);
  assert.match(deleting.log.violation?.actual ?? '', /being deleted/);

  const left = judging();
  left.disks.delete('copy');
  left.judge.checkAll(left.log);
  assert.match(left.log.violation?.actual ?? '', /volume of copy/);
});

test('judge of copies, G5: compares the bytes of a copy on storage with what was written to its source', async () => {
  const { cloud: image, commits } = await estateImage();
  for (const [isLost, guarantee] of [
    [false, undefined],
    [true, 'G5'],
  ] as const) {
    const world = await createSimulatedCloud({ seed: 5, image });
    const truth = openTruth(world);
    for (const committed of commits) truth.apply(committed);
    const log = openFindings(world.clock.monotonicMs);
    const judge = new CopyJudge({ diskHosts: world.diskHosts, log, truth });
    const sourceDisk = diskName('spare-house');
    // As if a write had been acknowledged but never reached the storage.
    if (isLost) truth.contentOf(sourceDisk).beginWrite({ first: 8, count: 8 }, 3)('done');
    let made = 0;
    world.onCommit((committed) => {
      for (const copy of truth.apply(committed)) {
        made += 1;
        judge.onMade(copy);
      }
    });
    try {
      await world.run(() =>
        clientsOf(world).disks.createSnapshot({ parent: group, snapshotId: 's', sourceDisk, incremental: true }),
      );
    } finally {
      world.close();
    }
    assert.equal(made, 1);
    assert.equal(log.violation?.guarantee, guarantee);
  }
});
