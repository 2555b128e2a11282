import assert from 'node:assert/strict';
import { test } from 'node:test';
import { DiskServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { connect, PATIENT_RETRY, type RetryPolicy, serveInProcess, service, tokenSource } from '@interlock/rpc';
import { logger, seededRandom } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { preferred } from '../fleet/choice.ts';
import { hashOf } from '../fleet/known-host.ts';
import { call, type FakeFleet, type FakeHost, fakeFleet, silence } from './test-fleet.ts';

const group = 'subscriptions/s/resourceGroups/g';
const disk = (id: string | number): string => `${group}/disks/${id}`;

/** Within this time a caller knows that a host does not respond, its own further tries included. */
const knownMs = 3_000;

const { endAccess, openDisks } = DiskServiceDefinition.methods;
const definition = { ...DiskServiceDefinition, methods: { endAccess, openDisks } } as const;

/** A client of the control process that tries again as clients do. */
const callerOf = ({ served, clock }: FakeFleet, retry?: RetryPolicy) => {
  const parts = { clock, random: seededRandom(1), tracer: trace.getTracer('test') };
  const rule = { authenticated: true, why: 'test' } as const;
  const { channel } = serveInProcess({
    ...parts,
    name: 'disk',
    log: logger({ service: 'test', clock, write: () => undefined }),
    authenticate: async () => ({ id: 'u', name: 'principals/u', tenant: 't', kind: 'user' }),
    authorize: async () => ({ allowed: true, principalActive: true }),
    services: [
      service({
        definition,
        implementation: served,
        authorization: { endAccess: rule, openDisks: rule },
      }),
    ],
  });
  const issue = async () => ({ token: 'token', expireTime: Number.MAX_SAFE_INTEGER });
  const credentials = tokenSource({ issue, clock });
  return connect({
    ...{ ...parts, channel, definition, credentials, audience: 'interlock:disk', defaultDeadlineMs: 30_000 },
    ...(retry && { retry }),
  });
};

/** A host that accepts calls and probes and never responds, and counts its calls. */
const silent = (seen: { calls: number }): FakeHost => {
  const never = (request: unknown, options?: object): Promise<never> => {
    seen.calls += 1;
    return silence(request, options);
  };
  return { responds: false, methods: { endAccess: never, openDisks: never, createDisk: never } };
};

for (const [caller, retry] of [
  ['a service', undefined],
  ['a CLI', PATIENT_RETRY],
] as const)
  test(`G10: ${caller} knows within 3 s, all its tries included, that the host of a disk does not respond`, async () => {
    const seen = { calls: 0 };
    const fleet = fakeFleet({ 'disk-0': silent(seen) }, { [disk(0)]: 'disk-0' });
    const { clock } = fleet;
    const client = callerOf(fleet, retry);
    const startedAt = clock.monotonicMs();
    await assert.rejects(clock.drive(client.endAccess({ name: disk(0) })), {
      reason: 'DISK_HOST_UNREACHABLE',
      metadata: { disk_host: 'diskHosts/disk-0' },
    });
    const tookMs = clock.monotonicMs() - startedAt;
    assert.ok(tookMs <= knownMs, `${tookMs} ms`);
    assert.equal(seen.calls, 1);
  });

test('G10: calls of a host that does not respond are refused at once until it responds, also without a call meanwhile', async () => {
  let isBack = false;
  const seen = { calls: 0 };
  const host: FakeHost = {
    responds: () => isBack,
    methods: {
      endAccess: async (request, options) => {
        seen.calls += 1;
        return isBack ? ({ name: request.name } as never) : silence(request, options as object);
      },
    },
  };
  const { api, clock } = fakeFleet({ 'disk-0': host }, { [disk(0)]: 'disk-0' });
  const end = () => api.endAccess({ name: disk(0), accessToken: '' }, call);
  await assert.rejects(end(), { reason: 'DISK_HOST_UNREACHABLE' });
  const at = clock.monotonicMs();
  await assert.rejects(end(), { reason: 'DISK_HOST_UNREACHABLE' });
  assert.deepEqual([clock.monotonicMs(), seen.calls], [at, 1]);
  isBack = true;
  await clock.drive(clock.sleep(3_000));
  assert.equal((await end()).name, disk(0));
  // A host that is not needed is not probed for ever.
  isBack = false;
  await assert.rejects(end(), { reason: 'DISK_HOST_UNREACHABLE' });
  await clock.drive(clock.sleep(60_000));
  assert.equal(clock.pending(), 0);
});

test('G10: of several hosts that do not respond each costs nothing more than the first', async () => {
  const seen = { calls: 0 };
  const names = ['disk-0', 'disk-1', 'disk-2', 'disk-3'];
  const last = preferred(
    names.map((name) => ({
      ...{ name, nameHash: hashOf(name), status: 'open', isServing: true, lease: undefined, volumeCount: 0 },
    })),
    disk('absent'),
    () => true,
  ).at(-1);
  const fleet = fakeFleet(Object.fromEntries(names.map((name) => [name, silent(seen)])));
  const { clock } = fleet;
  const client = callerOf(fleet);
  const startedAt = clock.monotonicMs();
  await assert.rejects(clock.drive(client.endAccess({ name: disk('absent') })), {
    reason: 'DISK_HOST_UNREACHABLE',
    metadata: { disk_host: `diskHosts/${last}` },
  });
  const tookMs = clock.monotonicMs() - startedAt;
  assert.ok(tookMs <= knownMs, `${tookMs} ms`);
  assert.equal(seen.calls, 1);
});

test('G3: opens of a batch wait 3 s for a host that does not respond, and have the order of the request', async () => {
  const seen = { calls: 0 };
  const opening = (host: string): FakeHost => ({
    methods: {
      openDisks: async ({ items = [] }) => ({
        outcomes: items.map(({ open }) => ({
          outcome: { $case: 'opened', value: { dataAddress: `${host} ${open?.name}` } as never },
          event: '',
        })),
      }),
    },
  });
  const fleet = fakeFleet(
    { 'disk-0': opening('disk-0'), 'disk-1': silent(seen), 'disk-2': opening('disk-2') },
    Object.fromEntries([0, 1, 2, 3, 4, 5].map((id) => [disk(id), `disk-${id % 3}`])),
  );
  const { clock } = fleet;
  const client = callerOf(fleet);
  const items = [5, 1, 0, 4, 2, 3].map((id) => ({ open: { name: disk(id), virtualMachine: 'vm' } }));
  const openAll = async () => {
    const startedAt = clock.monotonicMs();
    const { outcomes } = await clock.drive(client.openDisks({ items }));
    const shown = outcomes.map(({ outcome }) =>
      outcome?.$case === 'opened'
        ? outcome.value.dataAddress
        : `${outcome?.value.reason} ${outcome?.value.metadata.disk_host}`,
    );
    return { shown, tookMs: clock.monotonicMs() - startedAt };
  };
  const away = 'DISK_HOST_UNREACHABLE diskHosts/disk-1';
  const first = await openAll();
  const expected = [`disk-2 ${disk(5)}`, away, `disk-0 ${disk(0)}`, away, `disk-2 ${disk(2)}`, `disk-0 ${disk(3)}`];
  assert.deepEqual(first.shown, expected);
  assert.ok(first.tookMs <= knownMs, `${first.tookMs} ms`);
  assert.equal(seen.calls, 1);
  // The host is known by now.
  assert.deepEqual(await openAll(), { shown: expected, tookMs: 0 });
});
