import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RecordedEvent } from '@interlock/event-store';
import { openFindings } from '@interlock/lab/judge/findings';
import { boundsOf } from '@interlock/lab/judge/invariants/bounds';
import type { KnownDisk } from '@interlock/lab/judge/model/disks';
import { Disturbances } from '@interlock/lab/judge/model/disturbances';
import { seededRandom } from '@interlock/runtime';
import { simulatedSettings } from '../cloud/deployment.ts';
import { openDiskHosts } from '../cloud/disk-hosts.ts';
import { replicaOfHost } from '../cloud/parts.ts';
import { createSimulatedCloud } from '../cloud/simulated-cloud.ts';
import { estateImage } from '../runs/estate-image.ts';
import { openTruth } from '../truth/truth.ts';
import { diskName } from '../workload/estate.ts';
import { CipherJudge } from './ciphers.ts';

test('G1: no host but that of a disk has its data key in memory', async () => {
  const { cloud: image, commits } = await estateImage(2);
  const world = await createSimulatedCloud({ seed: 1, diskHosts: 2, image });
  try {
    const truth = openTruth(world);
    for (const committed of commits) truth.apply(committed);
    const name = diskName('premium-os');
    const host = truth.disks.hostOf(name);
    const other = world.diskHosts.find((one) => one.name !== host)?.name ?? assert.fail('there is another host');
    for (const [holders, expected] of [
      [[host], undefined],
      [[host, other], 'G1'],
      [[other], 'G1'],
    ] as const) {
      const log = openFindings(truth.nowMs);
      const cipherHolders = (disk: string): readonly string[] => (disk === name ? holders : []);
      const bounds = boundsOf(simulatedSettings);
      const disturbances = new Disturbances(truth.nowMs);
      const { settings, hasControl, diskHosts } = world;
      new CipherJudge({
        world: { cipherHolders, settings, hasControl, diskHosts },
        log,
        truth,
        disturbances,
        bounds,
      }).check();
      assert.equal(log.violation?.guarantee, expected, holders.join(' and '));
    }
  } finally {
    world.close();
  }
});

const diskHosts = openDiskHosts(2, seededRandom(1));
const closedMs = 20_000;
const { hostLeaseTtlMs } = simulatedSettings;

const open = { by: 'machine', attachEpoch: 1, atMs: 0, requestedMs: 0 } as const;

/** Judges a disk whose DEK is in memory of hosts, and which a machine has open. Its key was lost at 1 s. */
const judging = (sku: string, holders: readonly string[] = ['disk-0']) => {
  let nowMs = 1_000;
  const disk = { name: 'd', host: 'disk-0', set: 's', sku, open, closed: undefined, movedAtMs: 0 };
  const known = disk as unknown as KnownDisk;
  const log = openFindings(() => nowMs);
  const disturbances = new Disturbances(() => nowMs);
  const judge = new CipherJudge({
    world: { cipherHolders: () => holders, settings: simulatedSettings, hasControl: true, diskHosts },
    log,
    truth: {
      nowMs: () => nowMs,
      boundMs: () => 11_000,
      blockers: () => [{ reason: 'KEY_DISABLED', sinceMs: 1_000, owner: 'key-vault' }],
      disks: { disks: new Map([['d', known]]) },
    },
    disturbances,
    bounds: boundsOf(simulatedSettings),
  });
  const check = (atMs: number) => {
    nowMs = atMs;
    judge.check();
    return log.violation?.guarantee;
  };
  return { check, disturbances, judge, known };
};

/** Judges an ultra disk whose access ended at 20 s. */
const judgingClosed = (isByControl: boolean, setUp: (disturbances: Disturbances) => void = () => undefined) => {
  const judged = judging('ultra');
  const { check, disturbances, judge, known } = judged;
  assert.equal(check(closedMs), undefined, 'while it is open it is pinned');
  setUp(disturbances);
  known.closed = { ...open, closedMs };
  known.open = undefined;
  const by = isByControl ? ({ service: 'disk', replica: 0 } as const) : replicaOfHost(0);
  const event: Pick<RecordedEvent, 'stream' | 'type'> = { stream: 'disk-d', type: 'DiskClosed' };
  judge.onCommit({ by, events: [event as RecordedEvent] });
  return judged;
};

test('G1: the sender of a move may have the data key for a second after the move, and no other host', () => {
  const moved = (by: number) => {
    const judged = judging('premium_ssd', ['disk-1', 'disk-0']);
    judged.known.movedAtMs = 1_000;
    const event: Pick<RecordedEvent, 'stream' | 'type'> = { stream: 'disk-d', type: 'VolumeMoved' };
    judged.judge.onCommit({ by: replicaOfHost(by), events: [event as RecordedEvent] });
    return judged;
  };
  const sender = moved(1);
  assert.equal(sender.check(2_000), undefined);
  assert.equal(sender.check(2_001), 'G1');
  assert.equal(moved(0).check(1_001), 'G1', 'the other host has it, and did not send the disk');
});

test('G8: while events arrive, a data key is overwritten within a second of the loss, also at the very start', () => {
  const calm = judging('premium_ssd');
  assert.equal(calm.check(2_000), undefined);
  assert.equal(calm.check(2_001), 'G8');
  const disturbed = judging('premium_ssd');
  disturbed.disturbances.begin('diskHosts/disk-0')();
  assert.equal(disturbed.check(12_000), undefined, 'after a disturbance it has the time of the bound');
  assert.equal(disturbed.check(12_001), 'G8');
});

test('G8: without a control process, a host overwrites a data key when the set publishes the loss that it could not check, or after the bound', () => {
  const away = () => {
    const judged = judging('premium_ssd');
    judged.disturbances.begin('disk-control');
    return judged;
  };
  const unknown = away();
  assert.equal(unknown.check(12_000), undefined);
  assert.equal(unknown.check(12_001), 'G8');
  const known = away();
  assert.equal(known.check(3_000), undefined);
  known.judge.onEvent({ stream: 'set-s', type: 'KeyAccessLost' });
  assert.equal(known.check(4_000), undefined);
  assert.equal(known.check(4_001), 'G8');
});

test('G8: the data key of a pinned disk is overwritten when its host commits the close', () => {
  const { check } = judgingClosed(false);
  assert.equal(check(closedMs + 1_000), undefined);
  assert.equal(check(closedMs + 1_001), 'G8');
});

test('G8: a host that did not respond overwrites the data key of a pinned disk before it renews its lease', () => {
  const { check } = judgingClosed(true);
  assert.equal(check(closedMs + hostLeaseTtlMs + 1_000), undefined);
  assert.equal(check(closedMs + hostLeaseTtlMs + 1_001), 'G8');
});

test('G8: a host that is away overwrites the data key of a pinned disk when it is back', () => {
  for (const [isByControl, learnsMs] of [
    [false, 0],
    [true, hostLeaseTtlMs],
  ] as const) {
    let back = (): void => undefined;
    const { check } = judgingClosed(isByControl, (disturbances) => {
      back = disturbances.begin('diskHosts/disk-0');
    });
    assert.equal(check(100_000), undefined);
    back();
    assert.equal(check(100_000 + learnsMs + 1_000), undefined);
    assert.equal(check(100_000 + learnsMs + 1_001), 'G8');
  }
});
