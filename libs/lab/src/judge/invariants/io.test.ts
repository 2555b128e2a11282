import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RecordedEvent } from '@interlock/event-store';
import { type CallOutcome, openFindings } from '../findings.ts';
import { DiskTruth, type KnownDisk, type OpenAccess } from '../model/disks.ts';
import type { Truth } from '../model/truth.ts';
import { boundsOf } from './bounds.ts';
import { IoJudge } from './io.ts';
import { testTerms } from './test-terms.ts';

const lostMs = 10_000;
const boundMs = 20_000;

/** The judge's verdict on a write long after the bound, on a disk of that class that its machine opened at that time. */
const judged = (sku: KnownDisk['sku'], open: Pick<OpenAccess, 'requestedMs' | 'atMs'>, hostStartedMs: number) => {
  const disk = { name: 'd', sku, open: { ...open, by: 'machine', attachEpoch: 1 }, closed: undefined };
  const log = openFindings(() => 30_000);
  const truth = {
    nowMs: () => 30_000,
    boundMs: () => boundMs,
    blockers: () => [{ reason: 'ACCESS_DENIED', sinceMs: lostMs, owner: 'key-vault' }],
    disks: { disks: new Map([['d', disk]]), keyVersionOf: () => 'a version', hostOf: () => 'disk-0' },
  };
  const disturbances = { hostStartedMs: () => hostStartedMs, lastMs: () => undefined, lastOfHostMs: () => undefined };
  new IoJudge({
    log,
    truth: truth as unknown as Truth,
    disturbances,
    storage: { happenedSince: () => false },
    bounds: boundsOf(testTerms),
  }).onIo({
    kind: 'write',
    disk: 'd',
    by: 'machine',
    attachEpoch: 1,
    invokedMs: 30_000,
    outcome: { kind: 'ok', text: '' },
  });
  return log.violation?.guarantee;
};

test('judge of reads and writes, CMK-102, G1: an open pins an ultra disk, unless it was requested after the loss', () => {
  assert.equal(judged('ultra', { requestedMs: 9_000, atMs: 9_500 }, 0), undefined);
  assert.equal(judged('ultra', { requestedMs: 9_900, atMs: 10_100 }, 0), undefined);
  assert.equal(judged('ultra', { requestedMs: 10_050, atMs: 10_100 }, 0), 'G1', 'requested after the loss');
  assert.equal(
    judged('ultra', { requestedMs: 9_000, atMs: 9_500 }, 10_050),
    'G1',
    'by a host that began after the loss',
  );
  assert.equal(judged('ultra', { requestedMs: 9_000, atMs: 9_500 }, 29_999), 'G1', 'by the next host process');
  assert.equal(judged('ultra', { requestedMs: 9_000, atMs: 9_500 }, 30_000), undefined, 'the host ended meanwhile');
  assert.equal(judged('premium_ssd', { requestedMs: 9_000, atMs: 9_500 }, 0), 'G1', 'of another class');
});

test('judge of reads and writes, CMK-102, G2: a host that is away when an ultra disk is closed serves it for one lease at most', () => {
  const terms = { ...testTerms, hostLeaseTtlMs: 5_000 };
  const after = (invokedMs: number, disturbedMs: number | undefined) => {
    const access = { by: 'machine', attachEpoch: 1, requestedMs: 9_000, atMs: 9_500 };
    const disk = { name: 'd', sku: 'ultra', host: 'disk-0', open: undefined, closed: { ...access, closedMs: 100_000 } };
    const log = openFindings(() => invokedMs);
    const truth = {
      ...{ nowMs: () => invokedMs, boundMs: () => boundMs },
      blockers: () => [{ reason: 'ACCESS_DENIED', sinceMs: lostMs, owner: 'key-vault' }],
      disks: { disks: new Map([['d', disk]]), keyVersionOf: () => 'a version', hostOf: () => 'disk-0' },
    };
    const lastMs = () => disturbedMs;
    new IoJudge({
      ...{ log, truth: truth as unknown as Truth, bounds: boundsOf(terms) },
      disturbances: { hostStartedMs: () => 0, lastMs, lastOfHostMs: lastMs },
      storage: { happenedSince: () => false },
    }).onIo({
      ...({ kind: 'read', disk: 'd', by: 'machine', attachEpoch: 1, invokedMs } as const),
      outcome: { kind: 'ok', text: '' },
    });
    return log.violation?.guarantee;
  };
  assert.equal(after(100_000, undefined), undefined);
  assert.equal(after(100_001, undefined), 'G1', 'the host responded');
  assert.equal(after(105_000, 100_000), undefined);
  assert.equal(after(105_001, 100_000), 'G1', 'its lease is over');
});

/**
 * The verdict on a read under open 2 that was invoked at 25 s and failed, of a disk that moved from disk-0 to disk-1 at 20 s. What can
 * affect disk-0 is disturbed until 26 s; disk-1 never is.
 * @param openEpoch the open of the disk when the read ends; undefined if it is closed
 */
const judgedAtFormerHost = (openEpoch: number | undefined, outcome: CallOutcome, disturbed = 'disk-0') => {
  const log = openFindings(() => 30_000);
  const disks = new DiskTruth(() => 20_000);
  const stored = { encryption: { type: 'PLATFORM_KEY' }, keyVersion: '', volume: { volumeId: 'first' } };
  for (const [type, data] of [
    ['DiskCreating', { host: 'disk-0' }],
    ['DiskCreated', { sku: 'premium_ssd', ...stored }],
    ['VolumeMoved', { host: 'disk-1', volumeId: 'second' }],
    ...(openEpoch === undefined ? [] : [['DiskOpened', { attachEpoch: openEpoch }] as const]),
  ] as const)
    disks.apply({ stream: 'disk-d', type, data } as unknown as RecordedEvent);
  new IoJudge({
    ...{ log, truth: { nowMs: () => 30_000, disks } as unknown as Truth, bounds: boundsOf(testTerms) },
    disturbances: {
      hostStartedMs: () => 0,
      lastMs: () => undefined,
      lastOfHostMs: (host) => (host === disturbed ? 26_000 : undefined),
    },
    storage: { happenedSince: () => false },
  }).onIo({
    ...({ kind: 'read', disk: 'd', by: 'machine', attachEpoch: 2, invokedMs: 25_000, outcome } as const),
    refusal: outcome.kind === 'refused' ? { reason: outcome.reason, message: '' } : undefined,
  });
  return log.violation?.guarantee;
};

test('judge of reads and writes, G3: the former host of a disk is an excuse only for an open that has ended', () => {
  const failures: readonly CallOutcome[] = [
    { kind: 'refused', code: 'UNAVAILABLE', reason: 'STORE_UNAVAILABLE' },
    { kind: 'unknown', code: 'DEADLINE_EXCEEDED' },
  ];
  for (const failure of failures) {
    assert.equal(judgedAtFormerHost(undefined, failure), undefined, 'the disk is closed');
    assert.equal(judgedAtFormerHost(3, failure), undefined, 'the disk is open again');
    assert.equal(judgedAtFormerHost(2, failure), 'G3', 'the open is in force: the machine finds the new host');
    assert.equal(judgedAtFormerHost(2, failure, 'disk-1'), undefined, 'the host of the disk');
    assert.equal(judgedAtFormerHost(undefined, failure, 'disk-2'), 'G3', 'a host that never had it');
  }
});
