import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { TimedOut } from '../disk-service/disks.ts';
import type { Work } from '../vm/machine.ts';
import { DisksFailed, failureOf, lossOfRefusal, refusalOf } from './failures.ts';

const work: Work = { id: 'w', kind: 'start', at: 0, correlationId: '', caller: '' };
const disk = { disk: 'd1', set: 's', keyVersion: 'v', host: 'diskHosts/disk-2' };

test('G10: a start that a disk host without a response prevents names that host', () => {
  const away = new Rejection('UNAVAILABLE', 'DISK_HOST_UNREACHABLE', 'no response', { disk_host: disk.host });
  const error = new TimedOut('no definite answer in time', { cause: away });
  const failure = failureOf(new DisksFailed([{ disk: disk.disk, error }]), work, 'vm1', 1);
  assert.equal(failure.code, 'VM_START_TIMED_OUT');
  assert.match(failure.message, /The disk host disk-2, which has disks of it, does not respond/);
  assert.equal(refusalOf(failure, 'vm1').metadata.disk_host, disk.host);
  const other = failureOf(new DisksFailed([{ disk: disk.disk, error: new TimedOut('no answer') }]), work, 'vm1', 1);
  assert.match(other.message, /Its disks could not be reached; try again later\.$/);
  assert.equal(refusalOf(other, 'vm1').metadata.disk_host, undefined);
});

test('G10: a start that a lost key prevents names the disk host of the disk', () => {
  const error = new Rejection('FAILED_PRECONDITION', 'KEY_DISABLED', 'the key is disabled', {});
  const loss = lossOfRefusal(error, disk, 1);
  assert.ok(loss);
  const failure = failureOf(new DisksFailed([{ disk: disk.disk, error, loss, host: disk.host }]), work, 'vm1', 1);
  const { reason, metadata } = refusalOf(failure, 'vm1');
  assert.deepEqual([reason, metadata.disk, metadata.disk_host], ['KEY_DISABLED', 'd1', disk.host]);
});
