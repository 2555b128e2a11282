import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Metadata } from 'nice-grpc-common';
import type { Call } from '../call.ts';
import { RpcFailure } from '../rpc-failure.ts';
import { overEachTransport, rejection } from './test-transports.ts';

overEachTransport('authorization of calls', ({ echo }) => {
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
