import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { VmHostServiceDefinition } from '@interlock/contracts/interlock/compute/v1/compute.ts';
import { GuestRef } from '@interlock/contracts/interlock/compute/v1/guests.ts';
import { connect, type Principal, type RpcClient, serveInProcess } from '@interlock/rpc';
import { logger, systemRandom as random } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { planOnWire } from '../guests/guest-wire.ts';
import { GuestStartError } from '../guests/vm-host.ts';
import { vmHostApi } from './api.ts';
import { at, openTestHost, planOf, type TestHost, vm } from './test-placed.ts';

const tracer = trace.getTracer('test');

/** The principal of a token: `workload:<service>`, or a user. */
const principalOf = (token: string): Principal => {
  const common = { id: token, name: `principals/${token}`, tenant: 'tenant' };
  const [kind, workload] = token.split(':');
  return kind === 'workload' && workload !== undefined ? { ...common, kind, workload } : { ...common, kind: 'user' };
};

let host: TestHost;
let clientAs: (token: string) => RpcClient<typeof VmHostServiceDefinition>;
let compute: RpcClient<typeof VmHostServiceDefinition>;
let logged: string[];

beforeEach(() => {
  host = openTestHost();
  logged = [];
  const { clock, driver, guests } = host;
  const log = logger({ service: 'test', clock, write: (line) => logged.push(line) });
  const server = serveInProcess({
    ...{ name: 'vm-host', clock, tracer, log, random },
    services: [vmHostApi({ guests, driver, log })],
    authenticate: async (token) => principalOf(token),
    // Whatever roles a caller has.
    authorize: async () => ({ allowed: true, principalActive: true }),
  });
  clientAs = (token) =>
    connect({
      ...{ channel: server.channel, definition: VmHostServiceDefinition, audience: 'interlock:compute', clock, random },
      ...{ tracer, retry: { attemptsMax: 1, backoffMs: 1, backoffMsMax: 1 } },
      ...{ credentials: { token: async () => token, refused: () => undefined } },
    });
  compute = clientAs('workload:compute');
});
afterEach(() => host.remove());

const guest = (number: number, machineId = 'id', name = vm) =>
  GuestRef.fromPartial({ virtualMachine: name, uniqueId: machineId, placement: number });
const start = (number: number, client = compute) =>
  host.clock.drive(client.startGuest({ guest: guest(number), ...planOnWire(planOf(at(number))) }));
const describe = (number: number) => host.clock.drive(compute.describeGuest({ guest: guest(number) }));

test('only compute may call a VM host: other services and users with every role are refused', async () => {
  for (const token of ['workload:disk', 'workload:identity', 'administrator']) {
    const client = clientAs(token);
    const calls: readonly (() => Promise<unknown>)[] = [
      () => start(1, client),
      () => client.stopGuest({ guest: guest(1), graceMs: 0 }),
      () => client.attachGuestDisk({ guest: guest(1), disk: { disk: 'd' } }),
      () => client.detachGuestDisk({ guest: guest(1), disk: 'd' }),
      () => client.listGuests({}),
      () => client.describeGuest({ guest: guest(1) }),
      () => client.readGuestPage({ guest: guest(1) }),
      () => client.forgetGuest({ guest: guest(1) }),
    ];
    assert.equal(calls.length, Object.keys(VmHostServiceDefinition.methods).length);
    for (const call of calls) await assert.rejects(host.clock.drive(call()), { reason: 'WORKLOAD_REQUIRED' }, token);
  }
  assert.deepEqual(host.guests.all(), []);
});

test('a name that is no machine is refused before it becomes a path', async () => {
  const names = ['', '../../etc', 'subscriptions/s/resourceGroups/../virtualMachines/vm1'];
  for (const name of names) {
    const call = compute.stopGuest({ guest: guest(1, 'id', name), graceMs: 0 });
    await assert.rejects(host.clock.drive(call), { reason: 'NAME_INVALID' }, name);
  }
  const wrong: readonly (() => Promise<unknown>)[] = [
    () => compute.stopGuest({ guest: guest(1, ''), graceMs: 0 }),
    () => compute.stopGuest({ guest: guest(-1), graceMs: 0 }),
    () => compute.stopGuest({ guest: guest(1), graceMs: -1 }),
    () => compute.attachGuestDisk({ guest: guest(1) }),
  ];
  for (const call of wrong) await assert.rejects(host.clock.drive(call()), { reason: 'GUEST_INVALID' });
});

test('a guest that does not come up: the user gets its own words, or none of the host', async () => {
  host.driver.broken.add(vm);
  await assert.rejects(start(1), { reason: 'GUEST_START_FAILED', message: 'its guest did not come up. Try again.' });
  assert.match(logged.join(), /guest did not start/);
  host.guests.start = () => Promise.reject(new GuestStartError('no bootable disk'));
  await assert.rejects(start(1), { reason: 'GUEST_START_FAILED', message: /no bootable disk|did not come up/ });
});

test('G2: a start that a stop ended says that its placement was stopped', async () => {
  host.driver.slowToStart.set(vm, 60_000);
  const refused = assert.rejects(start(1), { reason: 'GUEST_STOPPED' });
  await host.clock.pass(10);
  await host.clock.drive(compute.stopGuest({ guest: guest(1), graceMs: 0 }));
  await refused;
});

test('a description is of one placement: of another one it finds no guest', async () => {
  host.driver.io.set(vm, { reads: 7, writes: 0, flushes: 0, failures: 0, mismatches: 0 });
  await start(2);
  const { isRunning, io } = await describe(2);
  assert.deepEqual([isRunning, io?.readCount], [true, 7]);
  assert.equal((await describe(1)).isRunning, false);
  assert.equal((await describe(3)).isRunning, false);
  host.driver.crash(vm);
  assert.deepEqual([(await describe(2)).isRunning, (await describe(2)).end], [false, 'GUEST_ENDED']);
  assert.equal((await describe(3)).end, 'HOST_RESTARTED', 'this host knows nothing of it');
});

test('guests are listed in pages in order of names, also those that are stopped', async () => {
  for (const name of ['c', 'a', 'b']) {
    const ref = { ...at(1), vm: `${vm}-${name}` };
    await host.guests.start(ref, planOf(ref));
  }
  await host.guests.stop({ ...at(1), vm: `${vm}-b` }, { graceMs: 0 });
  const first = await host.clock.drive(compute.listGuests({ pageSize: 2 }));
  const second = await host.clock.drive(compute.listGuests({ pageSize: 2, pageToken: first.nextPageToken }));
  const all = [...first.guests, ...second.guests].map((one) => [one.guest?.virtualMachine.at(-1), one.isRunning]);
  assert.deepEqual(all, [
    ['a', true],
    ['b', false],
    ['c', true],
  ]);
  assert.equal(second.nextPageToken, '');
});
