import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { virtualClock } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { openBatching, type SendBatch } from './batching.ts';
import { type CallFields, currentCall, runAsCall } from './call.ts';

const tracer = trace.getTracer('test');

/** A batching whose calls the test completes. */
const byHand = (sizeMax = 3) => {
  const clock = virtualClock();
  const calls: {
    readonly requests: readonly string[];
    readonly answer: (outcomes?: Awaited<ReturnType<SendBatch<string, string>>>) => void;
    readonly fail: (error: Error) => void;
  }[] = [];
  let idle = 0;
  const ask = openBatching<string, string>({
    name: 'batch',
    sizeMax,
    clock,
    tracer,
    onIdle: () => {
      idle += 1;
    },
    send: (items) =>
      new Promise((resolve, reject) => {
        const requests = items.map(({ request }) => request);
        calls.push({
          requests,
          answer: (outcomes = requests.map((request) => ({ answer: `${request}!` }))) => resolve(outcomes),
          fail: reject,
        });
      }),
  });
  return { clock, ask, calls, sent: () => calls.map(({ requests }) => requests.join('')), idle: () => idle };
};

test('requests of one turn are sent in batches of a bounded size, and each gets its own response', async () => {
  const { ask, calls, sent } = byHand();
  const answers = ['a', 'b', 'c', 'd'].map((request) => ask(request));
  await nextTurn();
  assert.deepEqual(sent(), ['abc', 'd']);
  for (const { answer } of calls) answer();
  assert.deepEqual(await Promise.all(answers), ['a!', 'b!', 'c!', 'd!']);
});

test('requests made during two calls wait until one ends, and share the next call', async () => {
  const { ask, calls, sent, idle } = byHand();
  const answers = [];
  for (const request of ['a', 'b', 'c', 'd']) {
    answers.push(ask(request));
    await nextTurn();
  }
  assert.deepEqual(sent(), ['a', 'b']);
  calls[1]?.answer();
  await nextTurn();
  assert.deepEqual(sent(), ['a', 'b', 'cd']);
  assert.equal(idle(), 0);
  calls[0]?.answer();
  calls[2]?.answer();
  assert.deepEqual(await Promise.all(answers), ['a!', 'b!', 'c!', 'd!']);
  await nextTurn();
  assert.equal(idle(), 1);
});

test('calls in flight delay the next batch by the linger time at most', async () => {
  const { clock, ask, calls, sent } = byHand();
  for (const request of ['a', 'b']) {
    ask(request).catch(() => undefined);
    await nextTurn();
  }
  const late = ask('c');
  await clock.pass(19);
  assert.deepEqual(sent(), ['a', 'b']);
  await clock.pass(1);
  await nextTurn();
  assert.deepEqual(sent(), ['a', 'b', 'c']);
  calls[2]?.answer();
  assert.equal(await late, 'c!');
});

test('an error or a missing outcome of an item fails one request; a failure of the call fails all of them', async () => {
  const { ask, calls } = byHand();
  const settled = (requests: readonly string[]) => Promise.allSettled(requests.map((request) => ask(request)));
  const first = settled(['a', 'b', 'c']);
  await nextTurn();
  calls[0]?.answer([{ answer: 'A' }, { error: new Error('not b') }]);
  assert.deepEqual(
    (await first).map((one) => (one.status === 'fulfilled' ? one.value : String(one.reason))),
    ['A', 'Error: not b', 'Error: a batch of 3 returned no outcome number 2'],
  );
  const second = settled(['d', 'e']);
  await nextTurn();
  calls[1]?.fail(new Error('cut off'));
  assert.deepEqual(
    (await second).map((one) => one.status === 'rejected' && String(one.reason)),
    ['Error: cut off', 'Error: cut off'],
  );
});

test('a batch of several requests runs outside of any call; a single request runs in the call of its caller', async () => {
  const callOf = (requestId: string): CallFields => ({
    caller: { kind: 'anonymous', name: 'system:anonymous' },
    cause: { correlationId: requestId, causes: [], caller: 'system:anonymous' },
    requestId,
    deadline: 0,
    remainingMs: () => 1_000,
  });
  const sentAs: unknown[] = [];
  // Opened within a call whose deadline passes long before the last batch.
  const ask = runAsCall(callOf('opener'), () =>
    openBatching<string, string>({
      name: 'batch',
      sizeMax: 3,
      clock: virtualClock(),
      tracer,
      send: async (items) => {
        sentAs.push(currentCall()?.requestId);
        return items.map(({ request }) => ({ answer: request }));
      },
    }),
  );
  await runAsCall(callOf('asker'), () => Promise.all([ask('a'), ask('b')]));
  await runAsCall(callOf('asker'), () => ask('c'));
  assert.deepEqual(sentAs, [undefined, 'asker'], 'a single request runs as part of its caller');
});
