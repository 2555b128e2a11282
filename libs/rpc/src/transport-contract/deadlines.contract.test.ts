import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { test } from 'node:test';
import { manualClock } from '../test-clock.ts';
import { collect, failure, overEachTransport } from './test-transports.ts';

/** A handler that does not respond until it is aborted. It says when it begins and when it is aborted. */
const untilAborted =
  (says: EventEmitter) =>
  async (_word: unknown, { signal }: { readonly signal: AbortSignal }): Promise<never> => {
    says.emit('begun');
    await once(signal, 'abort');
    says.emit('aborted');
    throw new Error('gave up');
  };

overEachTransport('deadlines of calls', ({ echo, spanCount }) => {
  test('a call without a response ends at its deadline, and its handler is aborted', async () => {
    const clock = manualClock();
    const handler = new EventEmitter();
    const { client } = await echo({
      clock,
      handlers: { change: untilAborted(handler) },
    });
    const begun = once(handler, 'begun');
    const aborted = once(handler, 'aborted');
    const answer = client.change({ text: '' }, { deadlineMs: 500 });
    await begun;
    clock.advance(500);
    await assert.rejects(answer, failure('DEADLINE_EXCEEDED'));
    await aborted;
  });

  test('a call that waits for a token ends at its deadline', async () => {
    const clock = manualClock();
    const token = Promise.withResolvers<string>();
    const { connect } = await echo({ clock });
    const client = connect({ credentials: { token: () => token.promise, refused: () => undefined } });
    const nextTurn = () => new Promise(setImmediate);
    const answers = [
      client.echo({ text: '' }, { deadlineMs: 500 }),
      collect(client.list({ text: 'a' }, { deadlineMs: 500 })),
    ];
    const settled = Promise.allSettled(answers);
    await nextTurn();
    clock.advance(500);
    for (const answer of answers) {
      await assert.rejects(Promise.race([answer, nextTurn()]), failure('DEADLINE_EXCEEDED'));
    }
    token.resolve('user-1');
    await settled;
  });

  test('the server ends a call at its own maximum, before the deadline of the caller', async () => {
    const clock = manualClock();
    const handler = new EventEmitter();
    const { client } = await echo({
      clock,
      server: { deadlineMaxMs: 300 },
      handlers: {
        change: () => {
          handler.emit('begun');
          return new Promise(() => undefined);
        },
      },
    });
    const begun = once(handler, 'begun');
    const answer = client.change({ text: '' }, { deadlineMs: 60_000 });
    await begun;
    clock.advance(300);
    await assert.rejects(answer, failure('DEADLINE_EXCEEDED'));
  });

  test('if the caller cancels a call, its handler is aborted', async () => {
    const handler = new EventEmitter();
    const caller = new AbortController();
    const { client, logged } = await echo({
      handlers: { change: untilAborted(handler) },
    });
    const begun = once(handler, 'begun');
    const aborted = once(handler, 'aborted');
    const answer = client.change({ text: '' }, { signal: caller.signal });
    await begun;
    caller.abort();
    await assert.rejects(answer, failure('CANCELLED'));
    await aborted;
    assert.deepEqual(logged, []);
  });

  test('a completed call leaves no timer', async () => {
    const clock = manualClock();
    const { client } = await echo({ clock });
    await client.echo({ text: '' });
    await spanCount(2);
    // A server looks at its calls every second.
    const ofServer = clock.sleeping();
    assert.ok(ofServer <= 1);
    for (let calls = 0; calls < 3; calls += 1) await client.echo({ text: '' });
    await spanCount(8);
    assert.equal(clock.sleeping(), ofServer);
  });
});
