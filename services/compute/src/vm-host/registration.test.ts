import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RenewVmHostRequest } from '@interlock/contracts/interlock/compute/v1/vm_host.ts';
import { logger, virtualClock } from '@interlock/runtime';
import { keepRegistered, leave, type RegistrationParts } from './registration.ts';
import { vmHostProblems } from './settings.ts';

/** A VM host that renews until it has called `answers.length` times. An answer of undefined: compute does not respond. */
const renewals = async (
  answers: readonly ({ readonly ttlMs: number; readonly isLost?: boolean } | undefined)[],
  endAll: () => Promise<void> = async () => {},
) => {
  const clock = virtualClock();
  const lines: string[] = [];
  const ending = new AbortController();
  const calledAtMs: number[] = [];
  const history: string[] = [];
  const renewVmHost = async ({ isEmpty = false }: { readonly isEmpty?: boolean }) => {
    history.push(isEmpty ? 'renew without guests' : 'renew');
    calledAtMs.push(clock.monotonicMs());
    const answer = answers[calledAtMs.length - 1];
    if (calledAtMs.length >= answers.length) ending.abort();
    if (answer === undefined) throw new Error('no response');
    return { ttlMs: answer.ttlMs, isLost: answer.isLost ?? false };
  };
  let hasEnded = false;
  const guests = {
    all: () => [{ vm: 'vm', machineId: 'm', number: 1, isStopped: hasEnded }],
    endAll: async () => {
      history.push('end all');
      await endAll();
      hasEnded = true;
    },
  };
  const log = logger({ service: 'test', clock, write: (line) => lines.push(line) });
  const {
    isEmpty: _empty,
    isLeaving: _leaving,
    ...self
  } = RenewVmHostRequest.fromPartial({ name: 'vmHosts/vm-host-0' });
  await clock.drive(keepRegistered({ compute: { renewVmHost }, self, guests, clock, log }, ending.signal));
  return { calledAtMs, history, events: lines.map((line) => String(JSON.parse(line).event)) };
};

test('a VM host renews each third of the time for which it counts as serving', async () => {
  const { calledAtMs } = await renewals([{ ttlMs: 15_000 }, { ttlMs: 9_000 }, { ttlMs: 9_000 }]);
  assert.deepEqual(calledAtMs, [0, 5_000, 8_000]);
});

test('G2: while compute does not respond, no guest ends; that is logged once, and it is tried again', async () => {
  const silence = Array.from({ length: 50 }, () => undefined);
  const { history, events } = await renewals([
    { ttlMs: 15_000 },
    ...silence,
    { ttlMs: 15_000 },
    undefined,
    { ttlMs: 1 },
  ]);
  assert.ok(!history.includes('end all'));
  assert.equal(events.filter((event) => event.startsWith('not renewed')).length, 2);
  assert.equal(history.length, 54);
});

test('G2: a host that is lost by its record renews only once all its guests are gone', async () => {
  let failures = 2;
  const { history } = await renewals([{ ttlMs: 15_000, isLost: true }, { ttlMs: 15_000 }], async () => {
    failures -= 1;
    if (failures >= 0) throw new Error('a guest is left');
  });
  assert.deepEqual(history, ['renew', 'end all', 'end all', 'end all', 'renew without guests']);
});

/** A VM host that ends. @param guestsAt how many guests are left at each renewal; `undefined`: compute does not respond */
const leaving = async (leaveMs: number, guestsAt: readonly (number | undefined)[]) => {
  const clock = virtualClock();
  const lines: string[] = [];
  const requests: { readonly isLeaving: boolean; readonly isEmpty: boolean }[] = [];
  let left = 1;
  const renewVmHost: RegistrationParts['compute']['renewVmHost'] = async ({ isLeaving = false, isEmpty = false }) => {
    const now = guestsAt[requests.length];
    requests.push({ isLeaving, isEmpty });
    if (now === undefined) throw new Error('no response');
    left = now;
    return { ttlMs: 15_000, isLost: false };
  };
  const guests = {
    all: () => Array.from({ length: 2 }, (_, n) => ({ vm: `vm${n}`, machineId: 'm', number: 1, isStopped: n >= left })),
    endAll: async () => assert.fail('a host that ends stops no guest by itself'),
  };
  const log = logger({ service: 'test', clock, write: (line) => lines.push(line) });
  const { isEmpty: _empty, isLeaving: _leaving, ...self } = RenewVmHostRequest.fromPartial({ name: 'vmHosts/a' });
  await clock.drive(leave({ compute: { renewVmHost }, self, guests, clock, log }, leaveMs));
  return { requests, tookMs: clock.monotonicMs(), logged: lines.map((line) => JSON.parse(line)) };
};

test('a VM host that ends says so until its machines have moved', async () => {
  const { requests, tookMs } = await leaving(120_000, [1, undefined, 1, 0]);
  assert.deepEqual(requests, Array(4).fill({ isLeaving: true, isEmpty: false }));
  assert.equal(tookMs, 3_000);
});

test('a VM host without guests says once that it ends, so that none is placed there', async () => {
  const { requests } = await leaving(120_000, [0]);
  assert.equal(requests.length, 1);
});

test('a VM host that ends waits no longer than it may, and names the machines that end with it', async () => {
  const { tookMs, logged } = await leaving(10_000, Array(20).fill(1));
  assert.equal(tookMs, 10_000);
  assert.deepEqual(logged.at(-1)?.machines, ['vm0']);
});

test('a VM host may not wait for its machines as long as its process may take to stop', () => {
  assert.deepEqual(vmHostProblems({ vmHostLeaveMs: 9_999, shutdownGraceMs: 10_000 }), []);
  const [problem] = vmHostProblems({ vmHostLeaveMs: 10_000, shutdownGraceMs: 10_000 });
  assert.match(problem?.expected ?? '', /less than SHUTDOWN_GRACE_MS \(10000\)/);
});
