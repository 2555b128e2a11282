import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KnownRoutes } from './known-routes.ts';
import { call, type FakeHost, fakeFleet, refusal } from './test-fleet.ts';

const group = 'subscriptions/s/resourceGroups/g';
const disk = (id: string | number): string => `${group}/disks/${id}`;
const virtualMachine = `${group}/virtualMachines/vm`;
const closing = (id: string) => ({ name: disk(id), virtualMachine, deallocated: false, attachEpoch: 0, cause: '' });

const mapOf = (hosts: Record<string, string>): Map<string, string> => new Map(Object.entries(hosts));

/** A host that notes the disks of its calls. It refuses disks that `has` does not name. */
const noting = (name: string, seen: string[], has: () => readonly string[], responds = () => true): FakeHost => ({
  responds,
  methods: {
    deleteDisk: async (request) => {
      if (!responds()) return new Promise<never>(() => undefined);
      seen.push(`${name} ${request.name}`);
      if (!has().includes(request.name ?? '')) throw refusal('DISK_NOT_HERE');
      return {};
    },
    closeDisks: async ({ closings = [] }) => {
      if (!responds()) return new Promise<never>(() => undefined);
      const names = closings.map((one) => one.name ?? '');
      seen.push(`${name} ${names.join(' ')}`);
      return {
        outcomes: names.map((one) =>
          has().includes(one)
            ? { outcome: { $case: 'closed' as const, value: {} as never }, event: name }
            : {
                outcome: {
                  $case: 'refused' as const,
                  value: { code: 9, reason: 'DISK_NOT_HERE', message: 'not here', metadata: {} },
                },
                event: '',
              },
        ),
      };
    },
  },
});

test('the row of a disk is read at its first call only, and again after its host refused a call', async () => {
  const seen: string[] = [];
  const places = { 'disk-0': [disk('d'), disk('e')], 'disk-1': [] as string[] };
  const { api, put, reads } = fakeFleet(
    {
      'disk-0': noting('disk-0', seen, () => places['disk-0']),
      'disk-1': noting('disk-1', seen, () => places['disk-1']),
    },
    { [disk('d')]: 'disk-0', [disk('e')]: 'disk-0' },
  );
  for (let n = 0; n < 3; n += 1) await api.deleteDisk({ name: disk('d'), etag: '' }, call);
  await api.closeDisks({ closings: [closing('d'), closing('e')] } as never, call);
  assert.deepEqual(reads.rows, [disk('d'), disk('e')]);

  put(disk('d'), 'disk-1');
  places['disk-0'] = [disk('e')];
  places['disk-1'] = [disk('d')];
  seen.length = 0;
  reads.rows.length = 0;
  const { outcomes } = await api.closeDisks({ closings: [closing('e'), closing('d')] } as never, call);
  assert.deepEqual(
    outcomes.map(({ event }) => event),
    ['disk-0', 'disk-1'],
  );
  await api.deleteDisk({ name: disk('d'), etag: '' }, call);
  assert.deepEqual(seen, [`disk-0 ${disk('e')} ${disk('d')}`, `disk-1 ${disk('d')}`, `disk-1 ${disk('d')}`]);
  assert.deepEqual(reads.rows, [disk('d')]);
});

test('G2: what moved away from a host that does not respond is called at its host, and is not ended without it', async () => {
  const seen: string[] = [];
  const places = { 'disk-0': ['d', 'e', 'f', 'g'].map(disk), 'disk-1': [] as string[] };
  let isThere = true;
  const { api, put } = fakeFleet(
    {
      'disk-0': noting(
        'disk-0',
        seen,
        () => places['disk-0'],
        () => isThere,
      ),
      'disk-1': noting('disk-1', seen, () => places['disk-1']),
    },
    { [disk('d')]: 'disk-0', [disk('e')]: 'disk-0', [disk('f')]: 'disk-0', [disk('g')]: 'disk-0' },
  );
  const closings = [closing('d'), closing('e'), closing('f')];
  await api.closeDisks({ closings } as never, call);
  await api.deleteDisk({ name: disk('g'), etag: '' }, call);
  for (const name of ['d', 'f', 'g'].map(disk)) {
    put(name, 'disk-1');
    places['disk-1'].push(name);
  }
  isThere = false;
  seen.length = 0;
  const { outcomes } = await api.closeDisks({ closings } as never, call);
  assert.deepEqual(
    outcomes.map(({ event }) => event),
    ['disk-1', `without disk-0: ${disk('e')}`, 'disk-1'],
  );
  await api.deleteDisk({ name: disk('g'), etag: '' }, call);
  await assert.rejects(api.deleteDisk({ name: disk('e'), etag: '' }, call), { reason: 'DISK_HOST_UNREACHABLE' });
});

test('the oldest route makes room, and what was not found is forgotten', () => {
  const routes = new KnownRoutes(2);
  routes.replace(['a', 'b'], mapOf({ a: '1', b: '1' }));
  routes.replace(['c', 'a'], mapOf({ c: '2', a: '2' }));
  assert.deepEqual(routes.find(['a', 'b', 'c']), {
    found: mapOf({ a: '2', c: '2' }),
    unknown: ['b'],
  });
  routes.replace(['a'], new Map());
  assert.deepEqual(routes.find(['a']), { found: new Map(), unknown: ['a'] });
});
