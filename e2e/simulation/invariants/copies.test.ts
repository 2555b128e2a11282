import assert from 'node:assert/strict';
import { test } from 'node:test';
import { simulatedSettings } from '../cloud/deployment.ts';
import { createSimulatedCloud } from '../cloud/simulated-cloud.ts';
import { openContent } from '../oracle/content.ts';
import type { CopyUnderWay } from '../oracle/copies.ts';
import type { KnownDisk } from '../oracle/disks.ts';
import type { Standing } from '../oracle/losses.ts';
import { openTruth } from '../oracle/oracle.ts';
import { estateImage } from '../runs/estate-image.ts';
import { openTrial } from '../runs/history-log.ts';
import { clientsOf, diskName, group } from '../workload/estate.ts';
import { copyJudge } from './copies.ts';

const known = (name: string, isSnapshot: boolean): KnownDisk => ({
  name,
  isSnapshot,
  sku: isSnapshot ? undefined : 'premium_ssd',
  set: `set of ${name}`,
  volumeId: `volume of ${name}`,
  attachedTo: '',
  open: undefined,
  closed: undefined,
  movedAtMs: 0,
  isDeleting: false,
  isChanging: false,
});

/** A judge of a snapshot `copy` of a disk `source`, in which what is in the way of either is for the test to say. */
const judging = () => {
  const source = known('source', false);
  const target = known('copy', true);
  const standing = new Map<string, readonly Standing[]>();
  const underWay = new Map<string, CopyUnderWay>();
  const disks = new Map([source, target].map((disk) => [disk.name, disk]));
  const stored = new Set([source.volumeId, target.volumeId]);
  let nowMs = 0;
  const log = openTrial(() => nowMs);
  const judge = copyJudge({
    world: { settings: simulatedSettings, volumes: { volumeIds: () => [...stored], peek: () => undefined } },
    log,
    truth: {
      nowMs: () => nowMs,
      standing: ({ name }) => standing.get(name) ?? [],
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
    lose: (name: string, owner: Standing['owner'] = 'key-vault') =>
      standing.set(name, [{ reason: 'ACCESS_DENIED', sinceMs: 1_000, owner }]),
    /** The copy is recorded. */
    recordAt(ms: number) {
      nowMs = ms;
      judge.onMade({ name: 'copy', source: { ...source }, target, content: openContent() });
    },
  };
};

const { leases, authzTtlMs } = simulatedSettings;
/** Of a loss at 1 s that the vault decided. */
const boundMs = 1_000 + leases.ttlMs;

test('judge of copies, G1: none is recorded after the bound when the key of either end was lost meanwhile', () => {
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

test('judge of copies, G1: what identity decided reaches a vault only when its word is over', () => {
  const inTime = judging();
  inTime.lose('source', 'identity');
  inTime.recordAt(boundMs + authzTtlMs);
  assert.equal(inTime.log.violation, undefined);
  const late = judging();
  late.lose('source', 'identity');
  late.recordAt(boundMs + authzTtlMs + 1);
  assert.equal(late.log.violation?.guarantee, 'G1');
});

test('judge of copies, G1: a source that is gone or under another set by now was not used under the key it has', () => {
  const gone = judging();
  gone.lose('source');
  gone.source.set = 'another set';
  const moved = { ...gone.source, set: 'set of source' };
  gone.judge.onMade({ name: 'copy', source: moved, target: known('copy', true), content: openContent() });
  assert.equal(gone.log.violation, undefined);
  const deleted = judging();
  deleted.lose('source');
  deleted.disks.delete('source');
  deleted.recordAt(boundMs + 1);
  assert.equal(deleted.log.violation, undefined);
});

test('judge of copies, G2: once everything has settled nothing is in the making or being deleted, and no files are left', () => {
  const settled = judging();
  settled.judge.checkAll(settled.log);
  assert.equal(settled.log.violation, undefined);

  const making = judging();
  const capture = openContent().beginCapture();
  making.underWay.set('v', { name: 'copy', volumeId: 'v', from: 'source', source: undefined, capture });
  making.judge.checkAll(making.log);
  assert.match(making.log.violation?.actual ?? '', /in the making/);

  const deleting = judging();
  deleting.source.isDeleting = true;
  deleting.judge.checkAll(deleting.log);
  assert.match(deleting.log.violation?.actual ?? '', /being deleted/);

  const left = judging();
  left.disks.delete('copy');
  left.judge.checkAll(left.log);
  assert.match(left.log.violation?.actual ?? '', /volume of copy/);
});

test('judge of copies, G5: the bytes of a copy on storage are held against what was written to its source', async () => {
  const { cloud: image, commits } = await estateImage();
  for (const [isLost, guarantee] of [
    [false, undefined],
    [true, 'G5'],
  ] as const) {
    const world = await createSimulatedCloud({ seed: 5, image });
    const truth = openTruth(world);
    for (const committed of commits) truth.apply(committed);
    const log = openTrial(world.clock.monotonicMs);
    const judge = copyJudge({ world, log, truth });
    const sourceDisk = diskName('spare-house');
    // As if a write had been acknowledged that never came to the storage.
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
