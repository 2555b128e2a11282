import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { currentCall } from '../call.ts';
import { collect, overEachTransport, rejection } from './test-transports.ts';

overEachTransport('streams', ({ echo }) => {
  test('responses arrive in order', async () => {
    const { client } = await echo();
    const letters = await collect(client.list({ text: 'abc' }));
    assert.deepEqual(
      letters.map(({ text }) => text),
      ['a', 'b', 'c'],
    );
  });

  test('a streaming handler has its call as the current call in every step', async () => {
    const seen: (string | undefined)[] = [];
    let own: string | undefined;
    const { client } = await echo({
      handlers: {
        list: async function* (word, call) {
          own = call.requestId;
          for (let step = 0; step < 3; step++) {
            seen.push(currentCall()?.requestId);
            yield word;
          }
        },
      },
    });
    await collect(client.list({ text: '' }));
    assert.deepEqual(seen, [own, own, own]);
  });

  test('the caller receives a rejection that follows some responses', async () => {
    const { client } = await echo({
      handlers: {
        list: async function* (word) {
          yield word;
          throw new Rejection('FAILED_PRECONDITION', 'KEY_DISABLED', 'gone', { disk: 'd1' });
        },
      },
    });
    const received: unknown[] = [];
    await assert.rejects(
      async () => {
        for await (const word of client.list({ text: 'a' })) received.push(word);
      },
      rejection('FAILED_PRECONDITION', 'KEY_DISABLED', { disk: 'd1' }),
    );
    assert.deepEqual(received, [{ text: 'a' }]);
  });
});

overEachTransport('ends of streams', ({ echo }) => {
  test('a caller that stops reading ends the handler', async () => {
    const handler = new EventEmitter();
    const { client } = await echo({
      handlers: {
        list: async function* (word, { signal }) {
          try {
            yield word;
            yield word;
            await once(signal, 'abort');
          } finally {
            handler.emit('ended');
          }
        },
      },
    });
    const ended = once(handler, 'ended');
    for await (const _word of client.list({ text: '' })) break;
    await ended;
  });

  test('a handler receives all messages of a request stream', async () => {
    const { client } = await echo();
    async function* words() {
      yield { text: 'a' };
      yield { text: 'b' };
    }
    assert.deepEqual(await client.join(words()), { text: 'ab' });
  });

  test('the caller receives a rejection while it still sends requests', async () => {
    const { client } = await echo({
      handlers: {
        join: async (words) => {
          for await (const { text } of words) throw new Rejection('OUT_OF_RANGE', 'BEYOND_END', 'too far', { text });
          return { text: '' };
        },
      },
    });
    async function* words() {
      for (;;) yield { text: 'a' };
    }
    // Requests are sent until the rejection arrives. On a busy machine that takes longer than the default deadline.
    const joining = client.join(words(), { deadlineMs: 60_000 });
    await assert.rejects(joining, rejection('OUT_OF_RANGE', 'BEYOND_END', { text: 'a' }));
  });

  test('a stopping server ends its streams with SERVER_STOPPING', async () => {
    const { client, stopServer } = await echo({
      handlers: {
        list: async function* (word, { signal }) {
          yield word;
          if (!signal.aborted) await once(signal, 'abort');
        },
      },
    });
    const answers = client.list({ text: 'a' })[Symbol.asyncIterator]();
    await answers.next();
    const stopped = stopServer();
    await assert.rejects(answers.next(), rejection('UNAVAILABLE', 'SERVER_STOPPING'));
    await stopped;
  });
});
