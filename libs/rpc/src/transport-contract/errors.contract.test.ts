import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rejection, StoreUnavailable, VersionConflict } from '@interlock/event-store';
import { RpcFailure } from '../rpc-failure.ts';
import { failure, overEachTransport, rejection } from './test-transports.ts';

overEachTransport('errors of handlers', ({ echo }) => {
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
});

overEachTransport('errors of connections and sizes', ({ echo, hasSizes }) => {
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
