import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { describeAuthorization } from './authorization.ts';
import { service } from './service.ts';
import { type EchoHandlers, type EchoRules, echoDefinition, openRules } from './test-echo.ts';

const implementation: EchoHandlers = {
  echo: async (request) => request,
  change: async (request) => request,
  list: async function* (request) {
    yield request;
  },
  join: async () => ({ text: '' }),
};

describe('the authorization table', () => {
  test('a table without a rule for a method does not compile, and is refused at run time', () => {
    const { change: _, ...partial } = openRules;
    assert.throws(
      // @ts-expect-error the rule of `change` is missing
      () => service({ definition: echoDefinition, implementation, authorization: partial }),
      /test\.Echo\/Change has no authorization rule/,
    );
  });

  test('a scope that reads an unknown field, or a stream of requests, does not compile', () => {
    const rules: Partial<EchoRules> = {
      // @ts-expect-error the request has no field `vault`
      echo: { action: 'read', scope: ({ vault }) => vault },
      // @ts-expect-error no message of a request stream has been read when the rule is evaluated
      join: { action: 'read', scope: () => '/' },
    };
    assert.equal(Object.keys(rules).length, 2);
  });

  test('describeAuthorization lists every method once, with its rule', () => {
    const bound = service({
      definition: echoDefinition,
      implementation,
      authorization: {
        echo: { public: true },
        change: { action: 'vaults/write', scope: ({ text }) => text },
        list: { workload: ['disk', 'compute'] },
        join: { authenticated: true, why: 'the vault has access policies' },
      },
    });
    assert.deepEqual(describeAuthorization([bound]), [
      { rpc: 'test.Echo/Echo', rule: 'public' },
      { rpc: 'test.Echo/Change', rule: 'action vaults/write' },
      { rpc: 'test.Echo/List', rule: 'workload disk, compute' },
      { rpc: 'test.Echo/Join', rule: 'authenticated: the vault has access policies' },
    ]);
  });
});
