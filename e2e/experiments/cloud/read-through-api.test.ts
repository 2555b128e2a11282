import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { GuestOperation } from '@interlock/contracts/interlock/compute/v1/guest_journal.ts';
import type { StoredEvent } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import type { Clients } from '../../cloud/clients.ts';
import { eventFeeds } from './event-feed.ts';
import { remoteJournals } from './guest-journals.ts';
import { comparedByGuests } from './guest-reads.ts';

const stored = (position: number): StoredEvent => ({
  ...{ position, eventId: `disk-d@${position}`, stream: 'disk-d', version: position, type: 'DiskOpened', schema: 1 },
  ...{
    eventTime: new Date(position),
    data: { at: position },
    withheld: [],
    meta: { correlationId: 'c', causes: [], caller: 'p' },
  },
});

test('reads each event of a service once, in pages, and keeps what it read when the service does not respond', async () => {
  const events = [1, 2, 3].map(stored);
  const asked: number[] = [];
  let isDown = false;
  const messaging = () => ({
    async readEvents({ afterPosition = 0 }) {
      if (isDown) throw new Error('down');
      asked.push(afterPosition);
      return { events: events.slice(afterPosition, afterPosition + 2), headPosition: events.length };
    },
  });
  const feeds = eventFeeds(messaging as unknown as Clients['messaging']);
  const positions = async () => (await feeds.read('disk')).map(({ position }) => position);
  assert.deepEqual(await positions(), [1, 2, 3]);
  events.push(stored(4));
  assert.deepEqual(await positions(), [1, 2, 3, 4]);
  assert.deepEqual(asked, [0, 2, 3]);
  isDown = true;
  await assert.rejects(positions(), /down/);
  assert.equal(feeds.known('disk').length, 4);
  assert.deepEqual(feeds.known('disk')[0]?.cause, { correlationId: 'c', causes: [], caller: 'p' });
});

const operation = (kind: GuestOperation['kind'], sequence: number): GuestOperation => ({
  ...{ disk: 'disks/a', kind, offsetBytes: 4_096 * sequence, lengthBytes: 4_096, sequence, ok: true, reason: '' },
  ...{ invokeTimeMs: sequence, completeTimeMs: sequence, invokeMonotonicMs: sequence, completeMonotonicMs: sequence },
});

test('reads the guest journals to their ends; missing operations are an error', async () => {
  const kept: Record<string, GuestOperation[]> = {
    a: [operation('WRITE', 1), operation('ADOPT', 2)],
    b: [operation('VERIFY', 3)],
  };
  let hasGap = false;
  const compute = {
    async readGuestJournal({ name = '', after = '' }) {
      const from = Number(after);
      const operations = (kept[name] ?? []).slice(from, from + 1);
      const end = from + operations.length;
      return { operations, readTo: String(end), atEnd: end >= (kept[name]?.length ?? 0), hasGap };
    },
  };
  const journals = remoteJournals({ compute } as unknown as Clients)(['a', 'b']);
  const seen = async () => (await journals.read()).map(({ machine, op, seq }) => `${machine} ${op} ${seq}`);
  assert.deepEqual(await seen(), ['a write 1', 'b verify 3']);
  kept.a?.push(operation('READ', 4));
  assert.deepEqual(await seen(), ['a write 1', 'b verify 3', 'a read 4']);
  hasGap = true;
  await assert.rejects(journals.read(), /operations of a are lost/);
  assert.equal(journals.known().length, 3);
});

test('G5: compares what guests read after a moment: the latest successful read of a place counts', async () => {
  const io = (op: 'read' | 'verify' | 'write', offset: number, invokedAt: number, reason = '') => ({
    ...{ machine: 'm', disk: 'disks/a', op, offset, length: 4_096, seq: 1, ok: reason === '', reason },
    ...{ invokedAt, completedAt: invokedAt, invokedMonotonicMs: invokedAt, completedMonotonicMs: invokedAt },
  });
  const history = [
    io('read', 0, 5, 'CONTENT_MISMATCH'),
    io('verify', 0, 10),
    io('verify', 4_096, 11, 'CONTENT_MISMATCH'),
    io('read', 8_192, 12, 'KEY_DISABLED'),
    io('write', 8_192, 13),
    io('read', 8_192, 14),
    { ...io('read', 0, 15), disk: 'disks/other' },
  ];
  assert.deepEqual(comparedByGuests(history, ['disks/a'], 10), {
    disksCompared: 1,
    bytesCompared: 12_288,
    bytesLost: 4_096,
  });
  const damaged = { ...io('verify', 0, 16, 'FILE_SYSTEM_DAMAGED'), length: 1_024 };
  assert.deepEqual(comparedByGuests([...history, damaged], ['disks/a'], 10), {
    disksCompared: 1,
    bytesCompared: 13_312,
    bytesLost: 5_120,
  });
  assert.deepEqual(comparedByGuests(history, ['disks/a'], 20), { disksCompared: 0, bytesCompared: 0, bytesLost: 0 });
});
