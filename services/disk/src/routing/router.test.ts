import assert from 'node:assert/strict';
import { test } from 'node:test';
import { callsPerProcessMax } from '@interlock/host';
import { RpcFailure } from '@interlock/rpc';
import { preferred } from '../fleet/choice.ts';
import { hashOf } from '../fleet/known-host.ts';
import { call, type FakeHost, fakeFleet, refusal, silence } from './test-fleet.ts';

const group = 'subscriptions/s/resourceGroups/g';
const disk = (id: string | number): string => `${group}/disks/${id}`;
const virtualMachine = `${group}/virtualMachines/vm`;
const closing = (id: string | number) => ({
  name: disk(id),
  virtualMachine,
  deallocated: false,
  attachEpoch: 0,
  cause: '',
});
const newDisk = {
  parent: group,
  diskId: 'new',
  location: 'l',
  sku: 'PREMIUM_SSD',
  sizeGib: 8,
  source: undefined,
  near: '',
} as const;
const underSet = (set: string) => ({
  ...newDisk,
  encryption: {
    type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY',
    diskEncryptionSet: `${group}/diskEncryptionSets/${set}`,
  } as const,
});
/** The order in which a key prefers hosts. */
const orderOf = (hosts: readonly string[], key: string): readonly string[] =>
  preferred(
    hosts.map((name) => ({ ...{ name, nameHash: hashOf(name), status: 'open', isServing: true }, ...noLease })),
    key,
    () => true,
  );
const noLease = { lease: undefined, volumeCount: 0 } as const;
const reasonOf = (work: Promise<unknown>): Promise<unknown> =>
  work.then(
    () => 'answered',
    ({ reason, code }) => reason ?? code,
  );

/** A host that answers these methods with its name, and notes its calls. */
const noting = (name: string, seen: string[], more: FakeHost = {}): FakeHost => ({
  ...more,
  methods: {
    deleteDisk: async (request) => {
      seen.push(`${name} ${request.name}`);
      return {};
    },
    createDisk: async (_request, options) => {
      seen.push(`${name} ${options?.token}`);
      return { name } as never;
    },
    createSnapshot: async () => {
      seen.push(name);
      return { name } as never;
    },
    checkKeyAccess: async () => {
      seen.push(name);
      return {} as never;
    },
    ...more.methods,
  },
});

test('a call about a disk goes to its host, with the token of the caller', async () => {
  const seen: string[] = [];
  const { api } = fakeFleet(
    { 'disk-0': noting('disk-0', seen), 'disk-1': noting('disk-1', seen) },
    { [disk('d')]: 'disk-1' },
  );
  await api.deleteDisk({ name: disk('d'), etag: '' }, call);
  await api.createDisk({ ...newDisk, diskId: 'd' } as never, call);
  assert.deepEqual(seen, [`disk-1 ${disk('d')}`, 'disk-1 of the user']);
});

test('a disk that moved between the reading of its row and the call is followed, at most to three hosts', async () => {
  const seen: string[] = [];
  const moved = (from: string, to: string): FakeHost => ({
    methods: {
      deleteDisk: async () => {
        seen.push(from);
        put(disk('d'), to);
        throw refusal('DISK_NOT_HERE');
      },
    },
  });
  const { api, put } = fakeFleet(
    { 'disk-0': moved('disk-0', 'disk-1'), 'disk-1': moved('disk-1', 'disk-2'), 'disk-2': noting('disk-2', seen) },
    { [disk('d')]: 'disk-0' },
  );
  await api.deleteDisk({ name: disk('d'), etag: '' }, call);
  assert.deepEqual(seen, ['disk-0', 'disk-1', `disk-2 ${disk('d')}`]);

  let calls = 0;
  const endless = fakeFleet(
    {
      'disk-0': {
        methods: {
          deleteDisk: async () => {
            calls += 1;
            throw refusal('DISK_NOT_HERE');
          },
        },
      },
    },
    { [disk('d')]: 'disk-0' },
  );
  assert.equal(await reasonOf(endless.api.deleteDisk({ name: disk('d'), etag: '' }, call)), 'DISK_NOT_HERE');
  assert.equal(calls, 3);
});

test('what does not exist, and what a lost host has, is answered by any serving host', async () => {
  const seen: string[] = [];
  const hosts = {
    'disk-0': noting('disk-0', seen, { status: 'lost', isServing: false }),
    'disk-1': noting('disk-1', seen),
    'disk-2': noting('disk-2', seen, { isServing: false }),
  } as const;
  const { api } = fakeFleet(hosts, { [disk('of-lost')]: 'disk-0' });
  await api.deleteDisk({ name: disk('of-lost'), etag: '' }, call);
  await api.deleteDisk({ name: disk('none'), etag: '' }, call);
  assert.deepEqual(seen, [`disk-1 ${disk('of-lost')}`, `disk-1 ${disk('none')}`]);
});

test('outcomes of a batch have the order of the request, whichever host answers first', async () => {
  const answering = (name: string, delayMs: number): FakeHost => ({
    methods: {
      closeDisks: async ({ closings = [] }) => {
        await clock.sleep(delayMs);
        return {
          outcomes: closings.map((one) => ({ outcome: { $case: 'closed', value: {} }, event: `${name} ${one.name}` })),
        };
      },
    },
  });
  const ids = [0, 1, 2, 3, 4, 5, 6];
  const { api, clock } = fakeFleet(
    { 'disk-0': answering('disk-0', 900), 'disk-1': answering('disk-1', 1), 'disk-2': answering('disk-2', 400) },
    Object.fromEntries(ids.map((id) => [disk(id), `disk-${id % 3}`])),
  );
  const { outcomes } = await api.closeDisks({ closings: ids.map(closing) }, call);
  assert.deepEqual(
    outcomes.map(({ event }) => event),
    ids.map((id) => `disk-${id % 3} ${disk(id)}`),
  );
});

test('items that moved are sent again, and the others are not', async () => {
  const seen: string[] = [];
  const host = (name: string): FakeHost => ({
    methods: {
      rewrapDeks: async ({ names = [] }) => {
        seen.push(`${name}: ${names.map((one) => one.split('/').at(-1)).join()}`);
        return {
          outcomes: names.map((one) => {
            if (one !== disk('b') || name === 'disk-1')
              return { outcome: { $case: 'moved', value: { name: one } as never }, event: '' };
            put(disk('b'), 'disk-1');
            return {
              outcome: { $case: 'refused', value: { code: 9, reason: 'DISK_NOT_HERE', message: 'm', metadata: {} } },
              event: '',
            };
          }),
        };
      },
    },
  });
  const { api, put } = fakeFleet(
    { 'disk-0': host('disk-0'), 'disk-1': host('disk-1') },
    { [disk('a')]: 'disk-0', [disk('b')]: 'disk-0' },
  );
  const { outcomes } = await api.rewrapDeks(
    { names: [disk('a'), disk('b')], targetKeyVersion: 'v', generation: 2 },
    call,
  );
  assert.deepEqual(
    outcomes.map(({ outcome }) => outcome?.$case),
    ['moved', 'moved'],
  );
  assert.deepEqual(seen, ['disk-0: a,b', 'disk-1: b']);
});

const rewraps = (...ids: readonly number[]) => ({ names: ids.map(disk), generation: 1, targetKeyVersion: 'v' });

test('G2: the items of a host that does not respond are refused after 3 s with its name, and others are not delayed', async () => {
  let firstAt = 0;
  const { api, clock } = fakeFleet(
    {
      'disk-0': { responds: false, methods: { rewrapDeks: silence } },
      'disk-1': {
        methods: {
          rewrapDeks: async ({ names = [] }) => {
            firstAt = clock.monotonicMs();
            return {
              outcomes: names.map((name) => ({ outcome: { $case: 'moved', value: { name } as never }, event: '' })),
            };
          },
        },
      },
    },
    { [disk(0)]: 'disk-0', [disk(1)]: 'disk-1' },
  );
  const startedAt = clock.monotonicMs();
  const { outcomes } = await api.rewrapDeks(rewraps(0, 1), call);
  const [refused, moved] = outcomes.map(({ outcome }) => outcome);
  assert.equal(moved?.$case, 'moved');
  assert.equal(firstAt, startedAt);
  assert.ok(refused?.$case === 'refused');
  assert.deepEqual(
    [refused.value.reason, refused.value.metadata.disk_host],
    ['DISK_HOST_UNREACHABLE', 'diskHosts/disk-0'],
  );
  assert.ok(clock.monotonicMs() - startedAt <= 3_000, `${clock.monotonicMs() - startedAt} ms`);
  // As for a service that does not respond at all.
  assert.equal(await reasonOf(api.rewrapDeks(rewraps(0), call)), 'DISK_HOST_UNREACHABLE');
});

test('a host that accepts calls and never answers costs this process 256 of them, and other hosts nothing', async () => {
  let [accepted, ended] = [0, 0];
  const { api } = fakeFleet(
    {
      'disk-0': {
        responds: false,
        methods: {
          deleteDisk: (request, options) => {
            accepted += 1;
            return silence(request, options as never).finally(() => {
              ended += 1;
            });
          },
        },
      },
      'disk-1': noting('disk-1', []),
    },
    { [disk(0)]: 'disk-0', [disk(1)]: 'disk-1' },
  );
  const hung = Array.from({ length: 1_000 }, () => reasonOf(api.deleteDisk({ name: disk(0), etag: '' }, call)));
  assert.equal(await reasonOf(api.deleteDisk({ name: disk(1), etag: '' }, call)), 'answered');
  const outcomes = Map.groupBy(await Promise.all(hung), (reason) => reason);
  assert.deepEqual(
    [accepted, ended, outcomes.get('DISK_HOST_UNREACHABLE')?.length, outcomes.get('DISK_HOST_BUSY')?.length],
    [callsPerProcessMax, callsPerProcessMax, callsPerProcessMax, 1_000 - callsPerProcessMax],
  );
  // The bound is on what is under way.
  assert.equal(await reasonOf(api.deleteDisk({ name: disk(0), etag: '' }, call)), 'DISK_HOST_UNREACHABLE');
});

test('a slow host that responds to probes is waited for, and a host whose lease is over is refused at once', async () => {
  const { api, clock } = fakeFleet(
    {
      'disk-0': { methods: { deleteDisk: async () => clock.sleep(20_000).then(() => ({})) } },
      'disk-1': { isServing: false, methods: { deleteDisk: silence } },
      'disk-2': {
        methods: { deleteDisk: () => Promise.reject(new RpcFailure('UNAVAILABLE', 'm', 'disk-2', 'refused')) },
      },
    },
    { [disk(0)]: 'disk-0', [disk(1)]: 'disk-1', [disk(2)]: 'disk-2' },
  );
  assert.equal(await reasonOf(api.deleteDisk({ name: disk(0), etag: '' }, call)), 'answered');
  const at = clock.monotonicMs();
  for (const id of [1, 2])
    assert.equal(await reasonOf(api.deleteDisk({ name: disk(id), etag: '' }, call)), 'DISK_HOST_UNREACHABLE');
  assert.equal(clock.monotonicMs(), at);
});

test('new disks of a set are placed together, and sets are spread over the hosts', async () => {
  const seen: string[] = [];
  const names = ['disk-0', 'disk-1', 'disk-2'];
  const { api } = fakeFleet(Object.fromEntries(names.map((name) => [name, noting(name, seen)])));
  for (const set of ['a', 'a', 'a']) await api.createDisk(underSet(set) as never, call);
  assert.equal(new Set(seen).size, 1);
  for (let n = 0; n < 60; n += 1) await api.createDisk(underSet(`set-${n}`) as never, call);
  assert.equal(new Set(seen).size, 3);
  seen.length = 0;
  await api.createDisk(newDisk as never, call);
  assert.deepEqual(seen, [`${orderOf(names, group)[0]} of the user`]);
});

test('a host that is full, closed or unreachable is followed by the next; a second full host ends the search', async () => {
  const names = ['disk-0', 'disk-1', 'disk-2'];
  const [first = '', second = '', third = ''] = orderOf(names, group);
  const placedAt = async (reasons: Readonly<Record<string, string>>): Promise<unknown> => {
    const failing = (name: string) => ({
      createDisk: async () => {
        const reason = reasons[name];
        if (reason !== undefined)
          throw refusal(reason, reason.startsWith('DISK_') ? 'UNAVAILABLE' : 'RESOURCE_EXHAUSTED');
        return { name } as never;
      },
    });
    const { api } = fakeFleet(Object.fromEntries(names.map((name) => [name, { methods: failing(name) }])));
    return api.createDisk(newDisk as never, call).then(
      (created) => created.name,
      ({ reason }) => reason,
    );
  };
  assert.equal(await placedAt({}), first);
  assert.equal(await placedAt({ [first]: 'STORAGE_FULL' }), second);
  assert.equal(await placedAt({ [first]: 'NO_DISK_HOST_OPEN', [second]: 'DISK_HOST_UNREACHABLE' }), third);
  assert.equal(await placedAt({ [first]: 'STORAGE_FULL', [second]: 'STORAGE_FULL' }), 'STORAGE_FULL');
  assert.equal(await placedAt({ [first]: 'SIZE_NOT_STORABLE' }), 'SIZE_NOT_STORABLE');
});

test('a disk is not placed on a host that is cordoned, unreachable, full or has too many disks', async () => {
  const lease = { epoch: 1, holder: 'h', machine: 'm', ttlMs: 30_000, isReleased: false };
  const seen: string[] = [];
  const { api } = fakeFleet({
    'disk-0': noting('disk-0', seen, { status: 'cordoned' }),
    'disk-1': noting('disk-1', seen, { isServing: false }),
    'disk-2': noting('disk-2', seen, {
      lease: { ...lease, grpcAddress: 'disk-2', capacityBytes: 1e12, freeBytes: 0.9e11 },
    }),
    'disk-3': noting('disk-3', seen, { volumeCount: 20_000 }),
  });
  await assert.rejects(api.createDisk(newDisk as never, call), {
    reason: 'NO_DISK_HOST_OPEN',
    message: /disk-0 cordoned, disk-1 open, unreachable, disk-2 open, disk-3 open/,
  });
  assert.deepEqual(seen, []);
});

test('a copy is made where its source is, and its repeat goes there also after the source was deleted', async () => {
  const seen: string[] = [];
  const names = ['disk-0', 'disk-1', 'disk-2'];
  const { api, put } = fakeFleet(Object.fromEntries(names.map((name) => [name, noting(name, seen)])), {
    [disk('d')]: 'disk-2',
  });
  const copy = { ...newDisk, source: { $case: 'sourceDisk', value: disk('d') } };
  await api.createDisk(copy as never, call);
  await api.createSnapshot(
    { parent: group, snapshotId: 's', sourceDisk: disk('d'), incremental: false, encryption: undefined },
    call,
  );
  put(disk('new'), 'disk-2');
  put(disk('d'), undefined);
  await api.createDisk(copy as never, call);
  assert.deepEqual(seen, ['disk-2 of the user', 'disk-2', 'disk-2 of the user']);
});

test('a key is checked by the host that its set prefers, or by the next one that responds', async () => {
  const seen: string[] = [];
  const set = `${group}/diskEncryptionSets/e`;
  const [first = '', second = ''] = orderOf(['disk-0', 'disk-1'], set);
  const request = { diskEncryptionSet: set, keyVersion: 'v', principal: 'p', allowExpired: false };
  const one = fakeFleet({ 'disk-0': noting('disk-0', seen), 'disk-1': noting('disk-1', seen) });
  await one.api.checkKeyAccess(request, call);
  const away = { [first]: noting(first, seen, { responds: false, methods: { checkKeyAccess: silence } }) };
  const other = fakeFleet({ 'disk-0': noting('disk-0', seen), 'disk-1': noting('disk-1', seen), ...away });
  await other.api.checkKeyAccess(request, call);
  assert.deepEqual(seen, [first, second]);
});

test('leases are listed host by host in pages, and hosts that do not respond are named', async () => {
  const lease = (host: string, n: number) => ({ diskHost: host, diskEncryptionSet: 'e', keyVersion: `v${n}` }) as never;
  const listing = (host: string, count: number): FakeHost => ({
    methods: {
      listLeases: async ({ pageSize = 0, pageToken: token = '' }) => {
        const after =
          token === ''
            ? 0
            : Number(
                Buffer.from(token, 'base64url')
                  .toString()
                  .match(/v(\d+)/)?.[1],
              );
        const all = Array.from({ length: count }, (_, n) => n + 1).filter((n) => n > after);
        return {
          leases: all.slice(0, pageSize).map((n) => lease(host, n)),
          nextPageToken: all.length > pageSize ? 'more' : '',
          unreachable: [],
        };
      },
    },
  });
  const { api } = fakeFleet({
    'disk-0': listing('disk-0', 3),
    'disk-1': { responds: false, methods: { listLeases: silence } },
    'disk-2': listing('disk-2', 2),
    'disk-3': { status: 'lost', isServing: false },
  });
  const pages: string[] = [];
  let pageToken = '';
  do {
    const page = await api.listLeases({ diskEncryptionSet: '', diskHost: '', pageSize: 2, pageToken }, call);
    pages.push([...page.leases.map((one) => `${one.diskHost} ${one.keyVersion}`), ...page.unreachable].join());
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  assert.deepEqual(pages, ['disk-0 v1,disk-0 v2', 'disk-0 v3,disk-2 v1,diskHosts/disk-1', 'disk-2 v2']);
  const of = async (diskHost: string) => {
    const page = await api.listLeases({ diskEncryptionSet: '', diskHost, pageSize: 9, pageToken: '' }, call);
    return [page.leases.map((one) => `${one.diskHost} ${one.keyVersion}`), page.unreachable];
  };
  assert.deepEqual(await of('diskHosts/disk-2'), [['disk-2 v1', 'disk-2 v2'], []]);
  assert.deepEqual(await of('diskHosts/disk-1'), [[], ['diskHosts/disk-1']]);
  await assert.rejects(of('disk-1'), { reason: 'NAME_INVALID', message: /disk_host/ });
});
