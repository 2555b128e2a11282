import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RecordedEvent } from '@interlock/event-store';
import { CopyTruth } from './copies.ts';

const name = 'subscriptions/s/resourceGroups/g/disks/d';

const event = (type: string, data: object): RecordedEvent =>
  ({ type, stream: `disk-${name}`, data: { ...data }, schema: 1, position: 1, version: 1, id: '', time: 0 }) as never;

test('a change of encryption ends with its outcome or with the deletion of its disk', () => {
  for (const ending of ['DiskEncryptionChanged', 'EncryptionChangeFailed', 'DiskDeleting']) {
    const captured = { beginCapture: () => undefined, endCapture: () => undefined };
    const copies = new CopyTruth({ nowMs: () => 7, disks: { disks: new Map() }, contentOf: () => captured as never });
    copies.apply(event('EncryptionChanging', { encryption: { type: 'platform' }, volumeId: 'v2' }));
    assert.deepEqual([...copies.underWay.keys()], ['v2']);
    assert.equal(copies.apply(event(ending, {})), undefined);
    assert.deepEqual([...copies.underWay.keys()], [], ending);
  }
});
