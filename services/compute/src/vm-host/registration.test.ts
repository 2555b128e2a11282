import assert from 'node:assert/strict';
import { test } from 'node:test';
import { RenewVmHostRequest } from '@interlock/contracts/interlock/compute/v1/vm_host.ts';
import { logger, virtualClock } from '@interlock/runtime';
import { keepRegistered } from './registration.ts';

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
  const { isEmpty: _empty, ...self } = RenewVmHostRequest.fromPartial({ name: 'vmHosts/vm-host-0' });
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
