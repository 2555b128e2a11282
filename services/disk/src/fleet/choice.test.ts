import assert from 'node:assert/strict';
import { test } from 'node:test';
import { choice, orderMax, type Placed, preferred, volumesPerHostMax } from './choice.ts';
import { hashOf, type KnownHost } from './known-host.ts';

const hostNames = (count: number): readonly string[] => Array.from({ length: count }, (_, n) => `disk-${n}`);
const sets = Array.from({ length: 10_000 }, (_, n) => `subscriptions/s/resourceGroups/g/diskEncryptionSets/set-${n}`);
const hostNamed = (name: string): KnownHost => ({
  ...{ name, nameHash: hashOf(name), status: 'open', isServing: true, lease: undefined, volumeCount: 0 },
});
/** The order of a key. */
const orderOf = (hosts: readonly string[], key: string): readonly string[] =>
  preferred(hosts.map(hostNamed), key, () => true);
const firstOf = (hosts: readonly string[], key: string): string | undefined => orderOf(hosts, key)[0];

test('each key has an order of all hosts, which does not depend on the order of the list', () => {
  const hosts = hostNames(7);
  for (const set of sets.slice(0, 100)) {
    const order = orderOf(hosts, set);
    assert.deepEqual(order.toSorted(), hosts.toSorted());
    assert.deepEqual(orderOf(hosts.toReversed(), set), order);
  }
  // Another order would move the new disks of every set to another host.
  assert.deepEqual(orderOf(hostNames(5), 'a'), ['disk-4', 'disk-3', 'disk-2', 'disk-0', 'disk-1']);
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
    const [first, ...rest] = orderOf(hosts, set);
    for (const gone of hosts) {
      const left = hosts.filter((host) => host !== gone);
      assert.equal(firstOf(left, set), gone === first ? rest[0] : first);
    }
  }
});

test('of many hosts the first ones of the order are found, as if all were sorted', () => {
  const hosts = hostNames(100);
  for (const set of sets.slice(0, 100)) {
    const found = orderOf(hosts, set);
    assert.equal(found.length, orderMax);
    // Without the first one, the second one is first, and so on.
    const left = new Set(hosts);
    for (const host of found) {
      assert.equal(firstOf([...left], set), host);
      left.delete(host);
    }
  }
});

test('a host takes a new disk if it is open, serves, and keeps a tenth of its storage or of the disk free', () => {
  const lease = { freeBytes: 100 * 2 ** 30, capacityBytes: 1_000 * 2 ** 30 } as KnownHost['lease'];
  const host: KnownHost = { ...hostNamed('disk-0'), lease };
  const takes = (changes: Partial<KnownHost>, sizeGib = 8): boolean =>
    choice([{ ...host, ...changes }], { key: 'a', sizeGib }).length === 1;
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

const placedOn = (placed: Partial<Placed>, hosts: readonly KnownHost[] = hostNames(5).map(hostNamed)) =>
  choice(hosts, { key: 'a', sizeGib: 8, ...placed });
const [first = '', second = ''] = placedOn({});

test('a disk is placed on the host of the disk that it is to be near, unless that host takes nothing new', () => {
  for (const host of hostNames(5)) assert.deepEqual(new Set(placedOn({ nearHost: host })), new Set(hostNames(5)));
  for (const host of hostNames(5)) assert.equal(placedOn({ nearHost: host })[0], host);
  const withChanges = (changes: Partial<KnownHost>) =>
    hostNames(5).map((name) => ({ ...hostNamed(name), ...(name === second ? changes : {}) }));
  assert.equal(placedOn({ nearHost: second }, withChanges({}))[0], second);
  for (const changes of [{ status: 'cordoned' }, { isServing: false }, { volumeCount: volumesPerHostMax }] as const)
    assert.equal(placedOn({ nearHost: second }, withChanges(changes))[0], first);
  assert.equal(placedOn({ nearHost: 'unknown' })[0], first);
});

test('a set that spreads has its machines on the first two hosts of its order, each machine on one of them', () => {
  const machines = Array.from({ length: 1_000 }, (_, n) => `subscriptions/s/resourceGroups/g/disks/os-${n}`);
  const placements = machines.map((spreadBy) => placedOn({ spreadBy }));
  for (const order of placements) assert.deepEqual(new Set(order.slice(0, 2)), new Set([first, second]));
  for (const order of placements) assert.deepEqual(order.slice(2), placedOn({}).slice(2));
  const onFirst = placements.filter(([host]) => host === first).length;
  assert.ok(onFirst > 400 && onFirst < 600, `${onFirst} of 1,000`);
  assert.deepEqual(placedOn({ spreadBy: machines[0] ?? '' }), placements[0]);
  // With one host there is nothing to spread over.
  assert.deepEqual(placedOn({ spreadBy: 'm' }, [hostNamed('disk-3')]), ['disk-3']);
  assert.deepEqual(placedOn({ spreadBy: 'm' }, []), []);
});
