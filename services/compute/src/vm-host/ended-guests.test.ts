import assert from 'node:assert/strict';
import { afterEach, beforeEach, test } from 'node:test';
import { logger } from '@interlock/runtime';
import { EndedGuests } from './ended-guests.ts';
import { at, openTestHost, type TestHost, vm } from './test-placed.ts';

let host: TestHost;
beforeEach(() => {
  host = openTestHost();
});
afterEach(() => host.remove());

/** @param answers whether compute responds to the n-th report @param onReport called with each report */
const reporter = (answers: (n: number) => boolean, onReport: () => Promise<void> = async () => {}) => {
  const { clock, driver, guests } = host;
  const reports: unknown[] = [];
  const reportGuestEnded = async (request: unknown) => {
    reports.push(request);
    await onReport();
    if (!answers(reports.length)) throw new Error('no response');
    return {};
  };
  const log = logger({ service: 'test', clock, write: () => {} });
  const { signal } = new AbortController();
  const parts = { compute: { reportGuestEnded }, vmHost: 'vmHosts/a', guests, driver, clock, log, signal };
  return { reports, ended: new EndedGuests(parts) };
};

test('VM-43: a guest that ended without a stop is reported with its placement until compute answers', async () => {
  await host.start(3);
  host.driver.crash(vm);
  const { reports, ended } = reporter((n) => n === 3);
  await host.clock.drive(Promise.all([ended.report(at(3)), ended.report(at(3))]));
  const report = { virtualMachine: vm, vmHost: 'vmHosts/a', placement: 3, detail: '' };
  assert.deepEqual(reports, [report, report, report]);
});

test('a report ends when its placement is stopped, or replaced by one that runs', async () => {
  await host.start(3);
  host.driver.crash(vm);
  const stopped = reporter(
    () => false,
    () => host.stop(3),
  );
  await host.clock.drive(stopped.ended.report(at(3)));
  assert.equal(stopped.reports.length, 1);
  await host.start(4);
  host.driver.crash(vm);
  const replaced = reporter(
    () => false,
    () => host.start(4),
  );
  await host.clock.drive(replaced.ended.report(at(4)));
  assert.equal(replaced.reports.length, 1);
});

test('a guest that ended with its host is not reported as one that ended by itself', async () => {
  await host.start(3);
  host.driver.restartHost();
  const { reports, ended } = reporter(() => true);
  await ended.report(at(3));
  assert.deepEqual(reports, []);
});
