import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eligibleHosts, rendezvous, volumesPerHostMax } from './choice.ts';
import type { KnownHost } from './fleet.ts';

const hostNames = (count: number): readonly string[] => Array.from({ length: count }, (_, n) => `disk-${n}`);
const sets = Array.from({ length: 10_000 }, (_, n) => `subscriptions/s/resourceGroups/g/diskEncryptionSets/set-${n}`);
const firstOf = (hosts: readonly string[], key: string): string | undefined => rendezvous(hosts, key).next().value;

test('each key has an order of all hosts, which does not depend on the order of the list', () => {
  const hosts = hostNames(7);
  for (const set of sets.slice(0, 100)) {
    const order = [...rendezvous(hosts, set)];
    assert.deepEqual(order.toSorted(), hosts.toSorted());
    assert.deepEqual([...rendezvous(hosts.toReversed(), set)], order);
  }
  // Another order would move the new disks of every set to another host.
  assert.deepEqual([...rendezvous(hostNames(5), 'a')], ['disk-4', 'disk-3', 'disk-2', 'disk-0', 'disk-1']);
});

test('each host is first for its share of the keys', () => {
  for (const count of [2, 3, 10]) {
    const hosts = hostNames(count);
    const firsts = Map.groupBy(sets, (set) => firstOf(hosts, set));
    for (const host of hosts) {
      const share = (firsts.get(host)?.length ?? 0) / sets.length;
      assert.ok(Math.abs(share * count - 1) < 0.15, `${host} of ${count} is first for ${share}`);
    }
  }
});

test('a host that leaves changes only what it was first for', () => {
  const hosts = hostNames(6);
  for (const set of sets.slice(0, 1_000)) {
    const [first, ...rest] = rendezvous(hosts, set);
    for (const gone of hosts) {
      const left = hosts.filter((host) => host !== gone);
      assert.equal(firstOf(left, set), gone === first ? rest[0] : first);
    }
  }
});

test('a host takes a new disk if it is open, serves, and keeps a tenth of its storage or of the disk free', () => {
  const lease = { freeBytes: 100 * 2 ** 30, capacityBytes: 1_000 * 2 ** 30 } as KnownHost['lease'];
  const host: KnownHost = { name: 'disk-0', status: 'open', isServing: true, lease, volumeCount: 0 };
  const takes = (changes: Partial<KnownHost>, sizeGib = 8): boolean =>
    eligibleHosts([{ ...host, ...changes }], { sizeGib }).length === 1;
  const withFree = (freeBytes: number | undefined) => ({ lease: { ...lease, freeBytes } as KnownHost['lease'] });
  assert.ok(takes({}));
  assert.ok(!takes({ status: 'cordoned' }));
  assert.ok(!takes({ status: 'lost' }));
  assert.ok(!takes({ isServing: false }));
  assert.ok(takes({ volumeCount: volumesPerHostMax - 1 }));
  assert.ok(!takes({ volumeCount: volumesPerHostMax }));
  assert.ok(!takes(withFree(100 * 2 ** 30 - 1)));
  assert.ok(takes({}, 1_000));
  assert.ok(!takes({}, 1_001));
  // It has not reported yet.
  assert.ok(takes({ lease: undefined }));
  assert.ok(takes(withFree(undefined)));
});
