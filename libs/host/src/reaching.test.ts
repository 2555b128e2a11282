import assert from 'node:assert/strict';
import { test } from 'node:test';
import { StoreUnavailable } from '@interlock/event-store';
import { logger, virtualClock } from '@interlock/runtime';
import { atMost, isReachable, openPatiently } from './reaching.ts';

const patient = (patienceMs: number, signal = new AbortController().signal) => {
  const clock = virtualClock();
  return { clock, patienceMs, signal, log: logger({ service: 't', clock, write: () => undefined }) };
};

test('openPatiently retries until the store is available', async () => {
  const parts = patient(60_000);
  let attempts = 0;
  const opening = openPatiently(async () => {
    attempts += 1;
    if (attempts < 4) throw new StoreUnavailable('not yet');
    return 'opened';
  }, parts);
  await parts.clock.pass(60_000);
  assert.equal(await opening, 'opened');
  assert.equal(attempts, 4);
});

test('openPatiently gives up after its limit or on a stop, and at once on any error but StoreUnavailable', async () => {
  const never = async () => Promise.reject(new StoreUnavailable('gone'));
  await assert.rejects(openPatiently(never, patient(0)), /gone/);

  const over = patient(5_000);
  const waiting = assert.rejects(openPatiently(never, over), /gone/);
  await over.clock.pass(6_000);
  await waiting;

  const stop = new AbortController();
  const stopped = patient(1_000_000, stop.signal);
  const ended = assert.rejects(openPatiently(never, stopped), /gone/);
  stop.abort();
  await stopped.clock.pass(1_000);
  await ended;

  let attempts = 0;
  const wrong = async () => {
    attempts += 1;
    throw new Error('password authentication failed');
  };
  await assert.rejects(openPatiently(wrong, patient(1_000_000)), /password/);
  assert.equal(attempts, 1);
});

test('a store is reachable only if it responds in time without an error', async () => {
  const clock = virtualClock();
  assert.equal(await isReachable({ head: async () => 7 }, clock), true);
  assert.equal(await isReachable({ head: async () => Promise.reject(new StoreUnavailable('gone')) }, clock), false);
  const silent = isReachable({ head: () => new Promise(() => undefined) }, clock);
  await clock.pass(1_000);
  assert.equal(await silent, false);
});

test('atMost waits for work up to the limit, and throws a failure before that', async () => {
  const clock = virtualClock();
  await atMost(1_000, Promise.resolve(), clock);
  const late = atMost(1_000, new Promise(() => undefined), clock);
  await clock.pass(1_000);
  await late;
  await assert.rejects(atMost(1_000, Promise.reject(new Error('refused')), clock), /refused/);
});
