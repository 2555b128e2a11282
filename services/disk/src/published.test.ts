import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DiskEvent as Wire } from '@interlock/contracts/interlock/disk/v1/disk_events.ts';
import type { JsonObject, RecordedEvent } from '@interlock/event-store';
import { toFact } from './published.ts';

const disk = 'subscriptions/s/resourceGroups/g/disks/d';
const recorded = (stream: RecordedEvent['stream'], type: string, data: JsonObject): RecordedEvent => ({
  position: 1,
  stream,
  version: 1,
  id: 'id',
  type,
  schema: 1,
  data,
  cause: { correlationId: 'c', causes: [], caller: 'system:test' },
  time: 0,
});

test('the fact of a new disk has its key version, but not its volume', () => {
  const fact = toFact(
    recorded(`disk-${disk}`, 'DiskCreated', {
      uniqueId: 'u',
      location: 'l',
      sku: 'ultra',
      sizeGib: 4,
      encryption: { type: 'customer', set: 'set' },
      source: '',
      keyVersion: 'one',
      generation: 3,
      volume: {
        volumeId: 'v',
        dekId: 'k',
        dekDiskId: 'u',
        dekAuthenticator: 'a',
        headerSequence: 1,
        headerDigest: 'one',
      },
      accessEpoch: 1,
      at: 0,
    }),
  );
  const { event } = Wire.decode(fact?.payload ?? new Uint8Array());
  assert.deepEqual(event, {
    $case: 'diskCreated',
    value: {
      disk,
      uniqueId: 'u',
      sku: 'ULTRA',
      sizeGib: 4,
      encryption: { type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: 'set' },
      keyVersion: 'one',
      generation: 3,
    },
  });
});

test('a rewrap is published with the same fact type for disks and snapshots', () => {
  const data = {
    set: 'set',
    previousKeyVersion: 'one',
    keyVersion: 'two',
    generation: 2,
    headerSequence: 2,
    accessEpoch: 1,
    at: 0,
  };
  const ofDisk = toFact(recorded(`disk-${disk}`, 'DekRewrapped', data));
  const ofSnapshot = toFact(recorded('snapshot-s', 'SnapshotDekRewrapped', data));
  assert.equal(ofDisk?.type, 'DekRewrapped');
  assert.equal(ofSnapshot?.type, 'DekRewrapped');
});

test('G8: opens, tokens and events of other categories are not published', () => {
  const opened = { attachEpoch: 1, virtualMachine: 'vm', tokenHash: 'h', accessEpoch: 1, at: 0 };
  assert.equal(toFact(recorded(`disk-${disk}`, 'DiskOpened', opened)), null);
  assert.equal(toFact(recorded('other-x', 'DiskCreated', {})), null);
});
