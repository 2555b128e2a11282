import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type Outcome, openInFlight } from './in-flight.ts';

/** In flight, with publishes whose outcome the test decides. */
const flight = () => {
  const acknowledged: (number | undefined)[] = [];
  const inFlight = openInFlight((reaches) => acknowledged.push(reaches));
  const send = (reaches?: number) => {
    const { promise, resolve } = Promise.withResolvers<Outcome>();
    inFlight.add(promise, reaches);
    return resolve;
  };
  return { acknowledged, inFlight, send };
};

test('a publish that is acknowledged early counts once all older ones are acknowledged', async () => {
  const { acknowledged, inFlight, send } = flight();
  const [first, second] = [send(1), send(2)];
  second({});
  await new Promise(setImmediate);
  assert.deepEqual(acknowledged, []);
  first({});
  await inFlight.downTo(0);
  assert.deepEqual(acknowledged, [1, 2]);
});

test('downTo resolves as soon as few enough publishes are unacknowledged', async () => {
  const { inFlight, send } = flight();
  const [first] = [send(), send(), send()];
  let hasRoom = false;
  const waiting = inFlight.downTo(2).then(() => {
    hasRoom = true;
  });
  await new Promise(setImmediate);
  assert.equal(hasRoom, false);
  first?.({});
  await waiting;
  await inFlight.downTo(2);
});

test('downTo throws the first failure, and later acknowledgements do not count', async () => {
  const { acknowledged, inFlight, send } = flight();
  const [first, second, third] = [send(1), send(2), send(3)];
  const waiting = inFlight.downTo(0);
  for (const end of [first, third]) end({});
  second({ failure: new Error('lost') });
  await assert.rejects(waiting, /lost/);
  assert.ok(inFlight.failed.aborted);
  await new Promise(setImmediate);
  assert.deepEqual(acknowledged, [1]);
  await assert.rejects(inFlight.downTo(3), /lost/);
});
