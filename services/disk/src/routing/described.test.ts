import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Loaded, Rejection } from '@interlock/event-store';
import { systemClock } from '@interlock/runtime';
import type { ActiveDisk, Disk } from '../disk/state.ts';
import { showAsHosts } from './described.ts';

const disk: ActiveDisk = {
  ...{ status: 'active', request: 'r', host: 'disk-1', location: 'l', sku: 'ultra', sizeGib: 4, source: '' },
  ...{ uniqueId: 'u', encryption: { type: 'customer', set: 's' }, keyVersion: 'v', generation: 1, createdAt: 0 },
  volume: {
    volumeId: 'x',
    headerSequence: 1,
    dekAuthenticator: '',
    sizeBytes: 4096,
  } as unknown as ActiveDisk['volume'],
  holder: { virtualMachine: 'vm', isDeallocated: false } as unknown as ActiveDisk['holder'],
  access: { by: 'machine' } as ActiveDisk['access'],
  ...{ attachEpoch: 1, accessEpoch: 1, changing: null, attachRequests: [] },
} as unknown as ActiveDisk;

/** The availability of a disk under a lost key whose host does not respond. */
const availabilityOf = async (changed: Partial<ActiveDisk>): Promise<string | undefined> => {
  const show = showAsHosts({
    links: { hosts: () => [], to: () => assert.fail('no host serves') },
    availability: {
      lossesOf: async (keys) => keys.map(() => ({ reason: 'KEY_DISABLED', since: 1 })),
      isAnyLost: async () => true,
    },
    fleet: { conditionOf: () => 'unreachable' } as unknown as Parameters<typeof showAsHosts>[0]['fleet'],
    clock: systemClock,
  });
  const loaded: Loaded<Disk> = { id: 'd', state: { ...disk, ...changed }, version: 1 };
  const [shown] = await show.disks([loaded]);
  return shown?.availability;
};

test('CMK-102, G3: an ultra disk that a machine has open is not shown as unavailable while its host does not respond', async () => {
  assert.equal(await availabilityOf({}), 'LEASE_PINNED');
  assert.equal(await availabilityOf({ sku: 'premium_ssd' }), 'UNAVAILABLE', 'of another class');
  assert.equal(await availabilityOf({ access: null }), 'UNAVAILABLE', 'closed');
  assert.equal(
    await availabilityOf({ access: { by: 'user' } as ActiveDisk['access'] }),
    'UNAVAILABLE',
    'opened by a user',
  );
});

test('a disk names its host as unreachable as soon as the host gives no answer, although its lease is not over', async () => {
  const show = showAsHosts({
    links: {
      hosts: () => [{ name: 'disk-1', isServing: true }] as unknown as ReturnType<ShowLinks['hosts']>,
      to: () => Promise.reject(new Rejection('UNAVAILABLE', 'DISK_HOST_UNREACHABLE', 'disk-1 does not respond')),
    },
    availability: { lossesOf: async (keys) => keys.map(() => undefined), isAnyLost: async () => false },
    fleet: { conditionOf: () => 'serving' } as unknown as Parameters<typeof showAsHosts>[0]['fleet'],
    clock: systemClock,
  });
  const [shown] = await show.disks([{ id: 'd', state: disk, version: 1 }]);
  assert.deepEqual([shown?.diskHost, shown?.diskHostState], ['diskHosts/disk-1', 'HOST_UNREACHABLE']);
});

type ShowLinks = Parameters<typeof showAsHosts>[0]['links'];
