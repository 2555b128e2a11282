import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { VmHostServiceDefinition } from '@interlock/contracts/interlock/compute/v1/compute.ts';
import { Rejection } from '@interlock/event-store';
import type { PeerProcess } from '@interlock/host';
import type { RpcClient } from '@interlock/rpc';
import { virtualClock } from '@interlock/runtime';
import type { KnownVmHost } from '../fleet/vm-hosts.ts';
import { FleetGuests } from './fleet-guests.ts';
import { HostAway, type MachineAtHost, PlacementOutdated } from './guests.ts';
import { type GuestPlan, GuestStartError } from './vm-host.ts';

type Methods = Partial<RpcClient<typeof VmHostServiceDefinition>>;

interface FakeHost extends Partial<KnownVmHost> {
  readonly methods?: Methods;
  /** A host that does not respond accepts calls and never answers. */
  readonly isSilent?: boolean;
}

/** A response that never comes. The call ends when its signal is aborted. */
const silence = (_request: unknown, options?: { readonly signal?: AbortSignal }): Promise<never> =>
  new Promise((_resolve, reject) => {
    options?.signal?.addEventListener('abort', () => reject(new Error('aborted')));
  });

const fleet = (fakes: Readonly<Record<string, FakeHost>>) => {
  const clock = virtualClock();
  const hosts = Object.entries(fakes).map(([name, { methods: _methods, isSilent: _silent, ...known }]): KnownVmHost => {
    const usual = {
      status: 'open',
      isServing: true,
      isLeaving: false,
      address: `${name}:1`,
      zone: '',
      capacity: 10,
      machineCount: 0,
    } as const;
    return { name, ...usual, ...known };
  });
  const connectTo = (_service: string, address: string): PeerProcess => {
    const { methods = {}, isSilent = false } = fakes[address.split(':')[0] ?? ''] ?? {};
    const answer = new Proxy(methods, { get: (of, name: keyof Methods) => (isSilent ? silence : of[name]) });
    return {
      client: () => answer as never,
      responds: async (withinMs) => {
        if (isSilent) await clock.sleep(withinMs);
        return !isSilent;
      },
      close: () => {},
    };
  };
  const vmHosts = {
    list: () => hosts,
    find: (name: string) => hosts.find((one) => `vmHosts/${one.name}` === name),
    refresh: async () => {},
  };
  const guard = async (host: string) => ({ name: host, from: 0, to: 0 });
  const guests = new FleetGuests({ hosts: vmHosts, guard, connectTo, clock, signal: new AbortController().signal });
  const choose = async (last?: string) => (await guests.choose(last)).host;
  return { clock, guests, choose };
};

const machine = (number = 3, host = 'a'): MachineAtHost => ({
  ...{ vm: 'subscriptions/s/resourceGroups/g/virtualMachines/vm1', machineId: 'id' },
  placement: { host: `vmHosts/${host}`, number },
});
const plan: GuestPlan = {
  ...{ machineId: 'id', guest: 'PROCESS', disks: [] },
  workload: { kind: 'IDLE', ioPerSecond: 1, ioSizeBytes: 4_096 },
};

test('G2: a stop at a host that does not respond says so within the grace and 2 s', async () => {
  const { clock, guests } = fleet({ a: { isSilent: true } });
  const before = clock.monotonicMs();
  assert.equal(await clock.drive(guests.stop(machine(), { graceMs: 3_000 })), 'unknown');
  assert.ok(clock.monotonicMs() - before <= 5_000, `took ${clock.monotonicMs() - before} ms`);
  const second = clock.monotonicMs();
  assert.equal(await clock.drive(guests.stop(machine(), { graceMs: 3_000, isKeyLost: true })), 'unknown');
  assert.ok(clock.monotonicMs() - second <= 2_000, 'a lost key waits for no shutdown');
});

test('G2: a stop at a lost host, or at one that is not registered, makes no call', async () => {
  const { guests } = fleet({ a: { status: 'lost' } });
  assert.equal(await guests.stop(machine(), { graceMs: 0 }), 'unknown');
  assert.equal(await guests.stop(machine(1, 'gone'), { graceMs: 0 }), 'unknown');
  const { placement: _none, ...never } = machine();
  assert.equal(await guests.stop(never, { graceMs: 0 }), 'gone', 'it was never at a host');
});

test('a stop that its host refuses as outdated leaves a guest that may run', async () => {
  const refusal = new Rejection('FAILED_PRECONDITION', 'PLACEMENT_OUTDATED', 'later', { placement: '9' });
  const { guests } = fleet({ a: { methods: { stopGuest: () => Promise.reject(refusal) } } });
  assert.equal(await guests.stop(machine(), { graceMs: 0 }), 'unknown');
});

test('a start says what its host says: another placement, a guest that did not come up, no room', async () => {
  const refused = async (reason: string, code: ConstructorParameters<typeof Rejection>[0], metadata = {}) => {
    const startGuest = () => Promise.reject(new Rejection(code, reason, reason, metadata));
    const { guests } = fleet({ a: { methods: { startGuest } } });
    return guests.start(machine(), plan).then(
      () => undefined,
      (error: unknown) => error,
    );
  };
  const outdated = await refused('PLACEMENT_OUTDATED', 'FAILED_PRECONDITION', { placement: '9' });
  assert.ok(outdated instanceof PlacementOutdated && outdated.newest === 9);
  assert.ok((await refused('GUEST_START_FAILED', 'UNAVAILABLE')) instanceof GuestStartError);
  assert.ok((await refused('VM_HOST_FULL', 'RESOURCE_EXHAUSTED')) instanceof HostAway);
});

test('a host that does not respond to a start gets no other one for a while', async () => {
  const { clock, guests, choose } = fleet({ a: { isSilent: true }, b: { machineCount: 5 } });
  assert.equal(await choose(), 'vmHosts/a');
  await assert.rejects(clock.drive(guests.start(machine(), plan)), { name: 'HostAway' });
  assert.equal(await choose(), 'vmHosts/b');
  await clock.drive(clock.sleep(11_000));
  assert.equal(await choose(), 'vmHosts/a');
});

test('starts at about the same time are spread before their machines are counted', async () => {
  const { choose } = fleet({ a: {}, b: {}, c: {} });
  const chosen = [await choose(), await choose(), await choose()];
  assert.deepEqual(chosen.toSorted(), ['vmHosts/a', 'vmHosts/b', 'vmHosts/c']);
});

test('no host that is open, responds and has room: the start is refused', async () => {
  const { choose } = fleet({
    a: { status: 'cordoned' },
    b: { isServing: false },
    c: { capacity: 2, machineCount: 2 },
  });
  await assert.rejects(choose(), { reason: 'NO_VM_HOST_OPEN' });
});

test('G2: a survey never takes a guest for gone because its host does not respond', async () => {
  const guest = { virtualMachine: machine().vm, uniqueId: 'id', placement: 3 };
  const io = {
    readCount: 7,
    writeCount: 0,
    flushCount: 0,
    failureCount: 0,
    contentMismatchCount: 0,
    newestMismatch: undefined,
  };
  const listGuests = async () => ({ guests: [{ guest, isRunning: true, io, disks: ['d'] }], nextPageToken: '' });
  const describeGuest = async () => ({
    ...{ isRunning: false, io: undefined, end: 'GUEST_ENDED' as const, endDetail: '' },
  });
  const { clock, guests } = fleet({ a: { methods: { listGuests, describeGuest } }, b: { isSilent: true } });
  const survey = await clock.drive(guests.survey());
  assert.equal(await survey.look(machine(3)), 'running');
  assert.equal(await survey.look(machine(4)), 'gone', 'the guest of an earlier placement is another');
  assert.equal(await survey.look(machine(3, 'b')), 'unknown');
  assert.deepEqual([machine(3), machine(4), machine(3, 'b')].map(survey.disksOf), [['d'], [], []]);
  assert.equal((await survey.ioOf(machine(3)))?.reads, 7);
  assert.equal(await survey.ioOf({ ...machine(3), machineId: 'another machine of that name' }), undefined);
  assert.deepEqual(
    survey.found.map(({ at, isRunning }) => [at?.host, at?.number, isRunning]),
    [['vmHosts/a', 3, true]],
  );
});
