import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { ServerError, Status } from 'nice-grpc-common';
import { RpcFailure } from '../rpc-failure.ts';
import { manualClock } from '../test-clock.ts';
import type { EchoOptions } from '../test-echo.ts';
import { failure, overEachTransport, rejection } from './test-transports.ts';

const failing = (times: number, error: () => Error) => {
  let calls = 0;
  return {
    calls: () => calls,
    handle: async (word: { text: string }) => {
      if (++calls <= times) throw error();
      return word;
    },
  };
};
const unavailable = () => new Rejection('UNAVAILABLE', 'KEY_VAULT_UNREACHABLE', 'later');

overEachTransport('retries of calls', ({ echo }) => {
  test('an idempotent call is retried while UNAVAILABLE', async () => {
    const { calls, handle } = failing(2, unavailable);
    const { client } = await echo({ handlers: { echo: handle } });
    assert.deepEqual(await client.echo({ text: 'a' }), { text: 'a' });
    assert.equal(calls(), 3);
  });

  test('an idempotent call fails after four tries', async () => {
    const { calls, handle } = failing(99, unavailable);
    const { client } = await echo({ handlers: { echo: handle } });
    await assert.rejects(client.echo({ text: '' }), rejection('UNAVAILABLE', 'KEY_VAULT_UNREACHABLE'));
    assert.equal(calls(), 4);
  });

  test('only a client with unreachableUntilDeadline retries an unreachable server until the deadline', async () => {
    let calls = 0;
    const isBackAfter = 12;
    const away: EchoOptions['handlers'] = {
      echo: async (word) => {
        calls += 1;
        // The error of an unreachable server, and of a proxy in front of it.
        if (calls <= isBackAfter) throw new ServerError(Status.UNAVAILABLE, 'no connection');
        return word;
      },
    };
    const retry = { attemptsMax: 4, backoffMs: 1, backoffMsMax: 2 };
    const { client, connect: connectWith } = await echo({ handlers: away, client: { retry } });
    await assert.rejects(client.echo({ text: 'a' }), failure('UNAVAILABLE'));
    assert.equal(calls, 4);
    const patient = connectWith({ retry: { ...retry, unreachableUntilDeadline: true } });
    assert.deepEqual(await patient.echo({ text: 'a' }), { text: 'a' });
    assert.equal(calls, isBackAfter + 1);
    calls = Number.NEGATIVE_INFINITY;
    await assert.rejects(patient.echo({ text: 'a' }, { deadlineMs: 50 }), RpcFailure);
    const { calls: refused, handle } = failing(99, unavailable);
    const { connect: other } = await echo({ handlers: { echo: handle } });
    const refusedPatiently = other({ retry: { ...retry, unreachableUntilDeadline: true } }).echo({ text: '' });
    await assert.rejects(refusedPatiently, rejection('UNAVAILABLE', 'KEY_VAULT_UNREACHABLE'));
    assert.equal(refused(), 4);
  });

  test('a call that is cancelled during the pause before a try makes no further one', async () => {
    let calls = 0;
    const cancelling = new AbortController();
    const { connect: connectWith } = await echo({
      handlers: {
        echo: async () => {
          calls += 1;
          // The caller is in the pause before its next try by then.
          setTimeout(() => cancelling.abort(), 20);
          throw new ServerError(Status.UNAVAILABLE, 'no connection');
        },
      },
    });
    const retry = { attemptsMax: 1, backoffMs: 60_000, backoffMsMax: 60_000, unreachableUntilDeadline: true };
    const call = connectWith({ retry }).echo({ text: '' }, { signal: cancelling.signal, deadlineMs: 120_000 });
    await assert.rejects(call, failure('CANCELLED'));
    assert.equal(calls, 1);
  });

  test('a call is not retried if the server asks for a pause beyond the deadline', async () => {
    const { calls, handle } = failing(
      99,
      () => new Rejection('UNAVAILABLE', 'THROTTLED', 'later', { retryAfterMs: '60000' }),
    );
    const { client } = await echo({ handlers: { echo: handle } });
    await assert.rejects(client.echo({ text: '' }), rejection('UNAVAILABLE', 'THROTTLED'));
    assert.equal(calls(), 1);
  });

  test('a deadline that ends a retry reports why the try before it failed', async () => {
    const clock = manualClock();
    let calls = 0;
    const { client } = await echo({
      clock,
      handlers: {
        echo: async () => {
          calls += 1;
          if (calls === 1) throw new Rejection('UNAVAILABLE', 'STORE_UNAVAILABLE', 'no store');
          return new Promise(() => undefined);
        },
      },
    });
    const answer = client.echo({ text: '' }, { deadlineMs: 60_000 });
    const late = assert.rejects(answer, (error) => {
      assert.ok(error instanceof RpcFailure && error.code === 'DEADLINE_EXCEEDED', String(error));
      assert.match(error.message, /the try before it: UNAVAILABLE STORE_UNAVAILABLE: no store$/);
      return error.cause instanceof Rejection && error.cause.reason === 'STORE_UNAVAILABLE';
    });
    // The pause before the second try starts when the first has failed, and ends as the clock advances.
    while (calls < 2) {
      await new Promise((resolve) => setTimeout(resolve, 2));
      clock.advance(10);
    }
    clock.advance(60_000);
    await late;
    assert.equal(calls, 2);
  });
});

overEachTransport('calls that are not retried', ({ echo }) => {
  test('a call that is not marked as idempotent is not retried', async () => {
    const { calls, handle } = failing(2, unavailable);
    const { client } = await echo({ handlers: { change: handle } });
    await assert.rejects(client.change({ text: '' }), rejection('UNAVAILABLE', 'KEY_VAULT_UNREACHABLE'));
    assert.equal(calls(), 1);
  });

  for (const code of ['ABORTED', 'RESOURCE_EXHAUSTED', 'FAILED_PRECONDITION'] as const) {
    test(`the client does not retry after ${code}`, async () => {
      const { calls, handle } = failing(2, () => new Rejection(code, 'WHATEVER', 'no'));
      const { client } = await echo({ handlers: { echo: handle } });
      await assert.rejects(client.echo({ text: '' }), rejection(code, 'WHATEVER'));
      assert.equal(calls(), 1);
    });
  }

  test('a stream is retried only before its first message', async () => {
    let calls = 0;
    const { client } = await echo({
      handlers: {
        list: async function* ({ text }) {
          if (++calls === 1) throw unavailable();
          yield { text };
          throw unavailable();
        },
      },
    });
    const received: string[] = [];
    await assert.rejects(
      async () => {
        for await (const { text } of client.list({ text: 'a' })) received.push(text);
      },
      rejection('UNAVAILABLE', 'KEY_VAULT_UNREACHABLE'),
    );
    assert.deepEqual(received, ['a']);
    assert.equal(calls, 2);
  });
});
