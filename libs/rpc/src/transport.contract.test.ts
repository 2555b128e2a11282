import assert from 'node:assert/strict';
import { EventEmitter, once } from 'node:events';
import { after, afterEach, before, describe, test } from 'node:test';
import { type CausedBy, followed, Rejection, StoreUnavailable, VersionConflict } from '@interlock/event-store';
import { contextFromTraceparent, systemRandom, traceIdOf } from '@interlock/runtime';
import { startTelemetry, type Telemetry } from '@interlock/runtime/telemetry';
import { context, propagation, SpanKind, trace } from '@opentelemetry/api';
import { InMemorySpanExporter, SimpleSpanProcessor } from '@opentelemetry/sdk-trace';
import { Metadata, ServerError, Status } from 'nice-grpc-common';
import { type Call, currentCall } from './call.ts';
import { RpcFailure } from './rpc-failure.ts';
import { manualClock } from './test-clock.ts';
import { type Echo, type EchoOptions, type StartEcho, transports } from './test-echo.ts';

const spans = new InMemorySpanExporter();
let telemetry: Telemetry;
before(() => {
  telemetry = startTelemetry({
    service: 'test',
    random: systemRandom,
    processors: [new SimpleSpanProcessor({ exporter: spans })],
  });
});
after(() => telemetry.shutdown());

for (const [transport, start] of Object.entries(transports)) {
  // A message that is not encoded has no size.
  describe(`calls over ${transport}`, () => suite(start, { hasSizes: transport !== 'in process, not encoded' }));
}

function suite(start: StartEcho, { hasSizes }: { readonly hasSizes: boolean }): void {
  const running: Echo[] = [];
  const echo = async (options: EchoOptions = {}): Promise<Echo> => {
    const started = await start({ ...options, server: { tracer: telemetry.tracer, ...options.server } });
    running.push(started);
    return started;
  };
  afterEach(async () => {
    await Promise.all(running.splice(0).map((each) => each.close()));
    spans.reset();
  });

  describe('context', () => {
    test('a handler receives the caller, the cause and the deadline of its call', async () => {
      const clock = manualClock();
      let seen: Call | undefined;
      const { client } = await echo({
        clock,
        handlers: {
          echo: async (word, call) => {
            seen = call;
            return word;
          },
        },
      });
      assert.deepEqual(await client.echo({ text: 'a' }, { cause: { correlationId: 'corr-1' }, deadlineMs: 5_000 }), {
        text: 'a',
      });
      assert.equal(seen?.caller.name, 'principals/user-1');
      assert.equal(seen?.token, 'user-1');
      assert.equal(seen?.cause.correlationId, 'corr-1');
      assert.deepEqual(seen?.cause.causes, []);
      assert.equal(seen?.cause.caller, 'principals/user-1');
      assert.equal(seen?.deadline, clock.now() + 5_000);
      assert.equal(seen?.signal.aborted, false);
    });

    test('G10: a call of a service carries the event behind it, and returns the events that it caused', async () => {
      const seen: (readonly CausedBy[])[] = [];
      const { client } = await echo({
        handlers: {
          echo: async (word, { cause }) => {
            seen.push(cause.causes);
            cause.trail?.stored('disk-d', 3);
            return word;
          },
        },
      });
      for (const token of ['workload:compute', 'user-1']) {
        const cause = followed({ correlationId: 'c', causes: [{ id: 'vm-v@2', kind: 'step' }], caller: 'system:test' });
        await client.echo({ text: 'a' }, { token, cause });
        const isService = token !== 'user-1';
        assert.deepEqual(seen.at(-1), isService ? [{ id: 'vm-v@2', kind: 'call' }] : []);
        const answers = isService ? [{ id: 'disk-d@3', kind: 'answer' }] : [];
        assert.deepEqual(cause.trail?.causesOf(undefined, []), answers, 'a user does not receive the events');
      }
    });

    test('a call without a correlation id gets its request id as one', async () => {
      const seen: Call[] = [];
      const { client } = await echo({
        handlers: {
          echo: async (word, call) => {
            seen.push(call);
            return word;
          },
        },
      });
      await client.echo({ text: '' });
      await client.echo({ text: '' });
      assert.equal(seen[0]?.cause.correlationId, seen[0]?.requestId);
      assert.notEqual(seen[0]?.requestId, seen[1]?.requestId);
    });

    test('a call made while serving another has its correlation id and at most its deadline', async () => {
      const clock = manualClock();
      const seen: Call[] = [];
      const inner = await echo({
        clock,
        handlers: {
          echo: async (word, call) => {
            seen.push(call);
            return word;
          },
        },
      });
      const outer = await echo({
        clock,
        handlers: {
          echo: async (word, call) => {
            seen.push(call);
            assert.equal(currentCall()?.requestId, call.requestId);
            return inner.client.echo(word, { deadlineMs: 60_000 });
          },
        },
      });
      await outer.client.echo({ text: '' }, { deadlineMs: 700 });
      const [first, second] = seen;
      assert.equal(second?.cause.correlationId, first?.cause.correlationId);
      assert.notEqual(second?.requestId, first?.requestId);
      assert.equal(second?.deadline, first?.deadline);
    });

    for (const [key, value] of [
      ['x-interlock-correlation-id', 'two words'],
      ['x-interlock-correlation-id', 'x'.repeat(65)],
    ] as const) {
      test(`metadata ${key}=${value.slice(0, 9)}… is refused by name`, async () => {
        const { client } = await echo();
        await assert.rejects(
          client.echo({ text: '' }, { metadata: Metadata({ [key]: value }) }),
          rejection('INVALID_ARGUMENT', 'METADATA_INVALID', { key }),
        );
      });
    }
  });

  describe('errors', () => {
    test('the caller receives a rejection with code, reason, message and metadata as thrown', async () => {
      const thrown = new Rejection('FAILED_PRECONDITION', 'KEY_DISABLED', 'key version v1 is disabled', {
        keyVersion: 'v1',
        since: '2026-01-01T00:00:00Z',
      });
      const { client, logged } = await echo({
        handlers: {
          change: async () => {
            throw thrown;
          },
        },
      });
      await assert.rejects(client.change({ text: '' }), (error) => {
        assert.ok(error instanceof Rejection);
        assert.equal(error.code, thrown.code);
        assert.equal(error.reason, thrown.reason);
        assert.equal(error.message, thrown.message);
        assert.deepEqual(error.metadata, thrown.metadata);
        assert.ok(error.cause instanceof RpcFailure);
        return true;
      });
      assert.deepEqual(logged, []);
    });

    for (const [thrown, code, reason] of [
      [new VersionConflict(['key-k1']), 'ABORTED', 'CONTENTION'],
      [new StoreUnavailable('down'), 'UNAVAILABLE', 'STORE_UNAVAILABLE'],
      [new RpcFailure('UNAVAILABLE', 'a.B/C', 'peer', 'connection refused'), 'UNAVAILABLE', 'DEPENDENCY_UNAVAILABLE'],
      [new RpcFailure('DEADLINE_EXCEEDED', 'a.B/C', 'peer', 'late'), 'UNAVAILABLE', 'DEPENDENCY_UNAVAILABLE'],
    ] as const) {
      test(`${thrown.name} in a handler is ${code} ${reason}`, async () => {
        const { client } = await echo({
          handlers: {
            change: async () => {
              throw thrown;
            },
          },
        });
        await assert.rejects(client.change({ text: '' }), rejection(code, reason));
      });
    }

    test('StoreUnavailable of a full store is UNAVAILABLE STORE_UNAVAILABLE, and says that there is no space', async () => {
      const cause = Object.assign(new Error('could not extend file'), { code: '53100' });
      const { client } = await echo({
        handlers: { change: async () => Promise.reject(new StoreUnavailable('full', { cause })) },
      });
      await assert.rejects(client.change({ text: '' }), (error) => {
        assert.ok(error instanceof Rejection && error.retryable());
        assert.match(error.message, /no space left/);
        assert.match(error.help ?? '', /frees disk space/);
        assert.deepEqual([error.reason, error.metadata.store], ['STORE_UNAVAILABLE', 'FULL']);
        return true;
      });
    });

    test('a file of the service without space is RESOURCE_EXHAUSTED STORAGE_FULL, and its path is logged and not sent', async () => {
      const thrown = Object.assign(new Error("ENOSPC: no space left on device, open '/keys/1'"), { code: 'ENOSPC' });
      const { client, logged } = await echo({ handlers: { change: async () => Promise.reject(thrown) } });
      await assert.rejects(client.change({ text: '' }), (error) => {
        assert.ok(error instanceof Rejection && error.retryable());
        assert.deepEqual([error.code, error.reason], ['RESOURCE_EXHAUSTED', 'STORAGE_FULL']);
        assert.doesNotMatch(error.message, /keys/);
        return true;
      });
      assert.match(JSON.stringify(logged), /request failed/);
    });

    for (const thrown of [
      new Error('row 7 of secret_table', { cause: new Error('socket closed') }),
      new RpcFailure('INTERNAL', 'a.B/C', 'peer', 'row 7 of secret_table', { cause: new Error('socket closed') }),
    ]) {
      test(`${thrown.name} in a handler is INTERNAL: its causes are logged and not sent`, async () => {
        const { client, logged } = await echo({
          handlers: {
            change: async () => {
              throw thrown;
            },
          },
        });
        await assert.rejects(client.change({ text: '' }), (error) => {
          assert.ok(error instanceof RpcFailure);
          assert.equal(error.code, 'INTERNAL');
          assert.equal(error.method, 'test.Echo/Change');
          assert.doesNotMatch(`${error.stack}`, /secret_table|socket closed/);
          assert.match(`${error.traceId}`, /^[0-9a-f]{32}$/);
          const line = JSON.parse(logged[0] ?? '');
          assert.equal(line.trace, error.traceId);
          assert.match(JSON.stringify(line.error), /secret_table.*socket closed/);
          return true;
        });
        assert.equal(logged.length, 1);
      });
    }

    test('if a service is refused with its own token, its caller gets DEPENDENCY_UNAVAILABLE', async () => {
      const inner = await echo();
      const other = inner.connect({ credentials: { token: () => 'bad', refused: () => undefined } });
      const { client } = await echo({ handlers: { change: async (word) => other.echo(word) } });
      await assert.rejects(
        client.change({ text: '' }),
        rejection('UNAVAILABLE', 'DEPENDENCY_UNAVAILABLE', { method: 'test.Echo/Echo', code: 'UNAUTHENTICATED' }),
      );
    });

    test('a call to a stopped server fails as UNAVAILABLE, not as a refusal', async () => {
      const { client, stopServer } = await echo();
      await stopServer();
      await assert.rejects(client.change({ text: '' }), failure('UNAVAILABLE'));
    });

    if (hasSizes) {
      test('a message above the limit is refused with both sizes', async () => {
        const { client } = await echo({ server: { messageBytesMax: 1_000 } });
        const error = await client.change({ text: 'x'.repeat(5_000) }).then(
          () => assert.fail('the message was taken'),
          (thrown: unknown) => thrown,
        );
        assert.ok(error instanceof RpcFailure);
        assert.equal(error.code, 'RESOURCE_EXHAUSTED');
        assert.match(error.message, /test\.Echo\/Change.*larger than max \(5011 vs\.? 1000\)/);
      });

      test('a response above the limit is refused with both sizes', async () => {
        const { client } = await echo({
          server: { messageBytesMax: 1_000 },
          handlers: { change: async () => ({ text: 'x'.repeat(5_000) }) },
        });
        await assert.rejects(client.change({ text: '' }), /larger than max \(50\d\d vs\.? 1000\)/);
      });
    }
  });

  describe('authorization', () => {
    test('without a token: TOKEN_MISSING (KV-80)', async () => {
      const { connect } = await echo();
      await assert.rejects(
        connect({ credentials: undefined }).echo({ text: '' }),
        rejection('UNAUTHENTICATED', 'TOKEN_MISSING'),
      );
    });

    test('a header that is not a bearer token: TOKEN_MALFORMED', async () => {
      const { connect } = await echo();
      const metadata = Metadata({ authorization: 'Basic abc' });
      await assert.rejects(
        connect({ credentials: undefined }).echo({ text: '' }, { metadata }),
        rejection('UNAUTHENTICATED', 'TOKEN_MALFORMED'),
      );
    });

    test('a client reports a refused token to its token source', async () => {
      const refused: string[] = [];
      const { connect } = await echo();
      const client = connect({
        credentials: { token: async () => 'bad', refused: (audience, token) => refused.push(`${audience} ${token}`) },
      });
      await assert.rejects(client.echo({ text: '' }), rejection('UNAUTHENTICATED', 'TOKEN_SIGNATURE_INVALID'));
      assert.deepEqual(refused, ['interlock:echo bad']);
    });

    test('a public method calls no authorizer and reads no token', async () => {
      let seen: Call | undefined;
      const { client } = await echo({
        rules: { echo: { public: true } },
        handlers: {
          echo: async (word, call) => {
            seen = call;
            return word;
          },
        },
      });
      await client.echo({ text: '' }, { token: 'bad' });
      assert.equal(seen?.caller.kind, 'anonymous');
      assert.equal(seen?.token, undefined);
      assert.equal(seen?.cause.caller, 'system:anonymous');
    });

    test('a method for services refuses every other principal', async () => {
      const { client } = await echo({ rules: { echo: { workload: ['disk', 'compute'] } } });
      await client.echo({ text: '' }, { token: 'workload:disk' });
      for (const token of ['user-1', 'workload:identity']) {
        await assert.rejects(client.echo({ text: '' }, { token }), rejection('PERMISSION_DENIED', 'WORKLOAD_REQUIRED'));
      }
    });

    test('the authorizer checks the action at the scope of the request; the refusal names both (KV-83)', async () => {
      const asked: string[] = [];
      const { client } = await echo({
        rules: {
          echo: { action: 'vaults/write', scope: async ({ text }) => `subscriptions/${text}` },
        },
        authorize: async (principal, action, scope) => {
          asked.push(`${principal.id} ${action} ${scope}`);
          return { allowed: scope.endsWith('mine'), principalActive: !scope.endsWith('gone') };
        },
      });
      await client.echo({ text: 'mine' });
      await assert.rejects(
        client.echo({ text: 'yours' }),
        rejection('PERMISSION_DENIED', 'ACCESS_DENIED', {
          principal: 'principals/user-1',
          action: 'vaults/write',
          scope: 'subscriptions/yours',
        }),
      );
      await assert.rejects(client.echo({ text: 'gone' }), rejection('UNAUTHENTICATED', 'PRINCIPAL_DELETED'));
      assert.deepEqual(asked, [
        'user-1 vaults/write subscriptions/mine',
        'user-1 vaults/write subscriptions/yours',
        'user-1 vaults/write subscriptions/gone',
      ]);
    });

    test('if the authorizer is unreachable, the call is neither granted nor refused but UNAVAILABLE', async () => {
      const { client } = await echo({
        rules: { change: { action: 'a', scope: () => '/' } },
        authorize: async () => {
          throw new RpcFailure('UNAVAILABLE', 'identity/Check', 'peer', 'down');
        },
      });
      await assert.rejects(client.change({ text: '' }), rejection('UNAVAILABLE', 'DEPENDENCY_UNAVAILABLE'));
    });
  });

  describe('deadlines', () => {
    test('a call without a response ends at its deadline, and its handler is aborted', async () => {
      const clock = manualClock();
      const handler = new EventEmitter();
      const { client } = await echo({
        clock,
        handlers: {
          change: async (_word, { signal }) => {
            handler.emit('begun');
            await once(signal, 'abort');
            handler.emit('aborted');
            throw new Error('gave up');
          },
        },
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
        handlers: {
          change: async (_word, { signal }) => {
            handler.emit('begun');
            await once(signal, 'abort');
            handler.emit('aborted');
            throw new Error('gave up');
          },
        },
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

  describe('retries', () => {
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

  describe('streams', () => {
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

  test('tracestate and baggage reach the handler and the cause of its events; events keep no long baggage', async () => {
    let seen: readonly (string | undefined)[] = [];
    const { connect } = await echo({
      handlers: {
        echo: async (word, { cause }) => {
          const active = context.active();
          const state = trace.getSpanContext(active)?.traceState?.get('vendor');
          const tenant = propagation.getBaggage(active)?.getEntry('tenant')?.value;
          seen = [state, tenant?.slice(0, 3), cause.tracestate, cause.baggage];
          return word;
        },
      },
    });
    const above = contextFromTraceparent('00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01', 'vendor=a');
    const baggage = propagation.createBaggage({ tenant: { value: 'b c' } });
    const client = connect({ tracer: telemetry.tracer });
    await context.with(propagation.setBaggage(above, baggage), () => client.echo({ text: '' }));
    assert.deepEqual(seen, ['a', 'b c', 'vendor=a', 'tenant=b%20c']);
    const long = propagation.createBaggage({ tenant: { value: 'x'.repeat(1_024) } });
    await context.with(propagation.setBaggage(above, long), () => client.echo({ text: '' }));
    assert.deepEqual(seen, ['a', 'xxx', 'vendor=a', undefined]);
  });

  test('the spans of a failed call have its status as error.type, on both sides', async () => {
    const { connect } = await echo({
      handlers: {
        echo: async () => {
          throw new Error('broken');
        },
      },
    });
    await assert.rejects(connect({ tracer: telemetry.tracer }).echo({ text: '' }));
    await spanCount(2);
    const ofCalls = spans.getFinishedSpans().filter(({ attributes }) => 'rpc.method' in attributes);
    assert.deepEqual(
      ofCalls.map(({ attributes }) => attributes['error.type']),
      ['INTERNAL', 'INTERNAL'],
    );
  });

  test('the span of the server is a child of the span of the client', async () => {
    let seen: Call | undefined;
    const { connect } = await echo({
      handlers: {
        echo: async (word, call) => {
          seen = call;
          return word;
        },
      },
    });
    await connect({ tracer: telemetry.tracer }).echo({ text: '' });
    await spanCount(2);
    const [server, client] = [SpanKind.SERVER, SpanKind.CLIENT].map((kind) =>
      spans.getFinishedSpans().find((span) => span.kind === kind),
    );
    assert.equal(server?.name, 'test.Echo/Echo');
    assert.equal(client?.name, 'test.Echo/Echo');
    assert.equal(server?.parentSpanContext?.spanId, client?.spanContext().spanId);
    assert.equal(server?.spanContext().traceId, client?.spanContext().traceId);
    assert.equal(traceIdOf(seen?.cause.traceparent), server?.spanContext().traceId);
    assert.equal(server?.attributes['rpc.status_code'], 'OK');
  });

  test('client and server share no objects', async () => {
    const sent = { text: 'a' };
    let received: unknown;
    const { client } = await echo({
      handlers: {
        echo: async (word) => {
          received = word;
          return word;
        },
      },
    });
    const answer = await client.echo(sent);
    assert.notEqual(received, sent);
    assert.notEqual(answer, received);
  });

  async function spanCount(count: number): Promise<void> {
    while (spans.getFinishedSpans().length < count) await new Promise(setImmediate);
  }
}

async function collect<Item>(items: AsyncIterable<Item>): Promise<Item[]> {
  const collected: Item[] = [];
  for await (const item of items) collected.push(item);
  return collected;
}

function rejection(code: string, reason: string, metadata: Readonly<Record<string, string>> = {}) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof Rejection, String(error));
    assert.equal(`${error.code} ${error.reason}`, `${code} ${reason}`);
    for (const [key, value] of Object.entries(metadata)) assert.equal(error.metadata[key], value);
    return true;
  };
}

function failure(code: string) {
  return (error: unknown): boolean => {
    assert.ok(error instanceof RpcFailure, String(error));
    assert.equal(error.code, code);
    return true;
  };
}
