import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RecordedEvent } from '@interlock/event-store';
import { openFindings } from '@interlock/lab/judge/findings';
import type { KnownDisk } from '@interlock/lab/judge/model/disks';
import { seededRandom } from '@interlock/runtime';
import { openDiskHosts } from '../cloud/disk-hosts.ts';
import { replicaOfHost } from '../cloud/parts.ts';
import { HostJudge } from './hosts.ts';

const control = { service: 'disk', replica: 0 } as const;
const ofHost = { service: 'disk', replica: replicaOfHost(0).replica } as const;
const ofOther = { service: 'disk', replica: replicaOfHost(1).replica } as const;

/** A judge of two hosts; the disk `d` is on `disk-0`. */
const judging = () => {
  const log = openFindings(() => 0);
  const disks = new Map<string, KnownDisk>([['d', { name: 'd', host: 'disk-0' } as KnownDisk]]);
  const truth = { disks: { disks, hostOf: () => 'disk-0' } };
  const judge = new HostJudge({ world: { diskHosts: openDiskHosts(2, seededRandom(1)) }, truth, log });
  const commit = (
    by: typeof control | typeof ofHost | undefined,
    stream: RecordedEvent['stream'],
    type: string,
  ): void => judge.onCommit({ by, events: [{ stream, type } as RecordedEvent] });
  return { log, disks, commit };
};

test('G5: only the host of a disk commits to it, besides closes by control', () => {
  const held = judging();
  held.commit(ofHost, 'disk-d', 'DiskOpened');
  held.commit(control, 'disk-d', 'DiskClosed');
  assert.equal(held.log.violation, undefined);
  for (const [by, type] of [
    [ofOther, 'DiskDetached'],
    [control, 'DiskOpened'],
  ] as const) {
    const { log, commit } = judging();
    commit(by, 'disk-d', type);
    assert.equal(log.violation?.guarantee, 'G5', `${type} by ${by.replica}`);
  }
});

test('G5: what a lost host has is ended by any other host, what it had begun also by itself, and nothing else is committed', () => {
  const held = judging();
  held.commit(control, 'diskhost-disk-0', 'DiskHostLost');
  held.commit(ofHost, 'disk-d', 'VolumeMoveFailed');
  held.commit(ofOther, 'disk-d', 'DiskDeleting');
  assert.equal(held.log.violation, undefined);
  for (const [by, type] of [
    [ofHost, 'DiskDeleting'],
    [ofOther, 'DiskOpened'],
  ] as const) {
    const { log, commit } = judging();
    commit(control, 'diskhost-disk-0', 'DiskHostLost');
    commit(by, 'disk-d', type);
    assert.equal(log.violation?.guarantee, 'G5', `${type} by ${by.replica}`);
  }
});

test('G5: nothing begins on a host that an operator closed, until it is resumed', () => {
  for (const type of ['DiskHostCordoned', 'DiskHostDraining', 'DiskHostDrained', 'DiskHostLost']) {
    const { log, commit } = judging();
    commit(control, 'diskhost-disk-0', type);
    commit(ofHost, 'disk-d', 'DiskCreating');
    assert.equal(log.violation?.guarantee, 'G5', type);
  }
  const { log, commit } = judging();
  commit(control, 'diskhost-disk-0', 'DiskHostCordoned');
  commit(control, 'diskhost-disk-0', 'DiskHostOpened');
  commit(ofHost, 'disk-d', 'DiskCreating');
  assert.equal(log.violation, undefined);
});

test('G5: no disk names a host that is deleted', () => {
  const left = judging();
  left.commit(control, 'diskhost-disk-0', 'DiskHostDeleted');
  assert.equal(left.log.violation?.guarantee, 'G5');
  const empty = judging();
  empty.disks.clear();
  empty.commit(control, 'diskhost-disk-0', 'DiskHostDeleted');
  assert.equal(empty.log.violation, undefined);
});
