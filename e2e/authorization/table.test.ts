import assert from 'node:assert/strict';
import { test } from 'node:test';
import { pathToFileURL } from 'node:url';
import { filesLike, pathOf, textOf } from '../docs/sources.ts';
import { cellsOf } from './cells.ts';
import { namesFor } from './names.ts';
import { authorizationPage, pageOf } from './page.ts';
import { table } from './table.ts';
import { wrongWith } from './verdict.ts';
import { services } from './who.ts';

/** Every RPC of the generated definitions. Those of MessagingService appear once for each service that offers it. */
const generated = async (): Promise<readonly string[]> => {
  const found: string[] = [];
  for (const file of filesLike(/^proto\/interlock\/.*\.proto$/)) {
    for (const [, service] of textOf(file).matchAll(/^service (\w+) \{/gm)) {
      // No service of a cloud offers it: `vm-host/api.test.ts` of compute has who may call a VM host.
      if (service === 'VmHostService') continue;
      const path = pathOf(file.replace(/^proto\//, 'libs/contracts/src/').replace(/\.proto$/, '.ts'));
      const definition = Reflect.get(await import(pathToFileURL(path).href), `${service}Definition`);
      assert.ok(definition, `${path} has no ${service}Definition`);
      const methods: readonly { readonly name: string }[] = Object.values(definition.methods);
      const rpcs = methods.map(({ name }) => `${definition.fullName}/${name}`);
      found.push(...(service === 'MessagingService' ? services.flatMap(() => rpcs) : rpcs));
    }
  }
  return found.sort();
};

test('the table has exactly the RPCs of the generated definitions', async () => {
  const inDefinitions = await generated();
  assert.ok(inDefinitions.length > 100);
  assert.deepEqual(table.map(({ rpc }) => rpc).sort(), inDefinitions);
});

test('the table has the messaging RPCs of each service', () => {
  const offering = table.filter(({ rpc }) => rpc.endsWith('MessagingService/ReadFeed')).map(({ service }) => service);
  assert.deepEqual(offering.sort(), [...services].sort());
});

const names = namesFor('tag', { tenant: 'tenants/t', subscription: 'subscriptions/s' });

test('the table has all six kinds of callers for every RPC', () => {
  const all = [
    'anonymous',
    'expired token',
    'principal of another tenant',
    'the right one',
    'token for another audience',
    'without the grant',
  ];
  for (const { rpc, cases } of table) {
    const callers = new Set(cases.flatMap(({ rule }) => cellsOf(rule, names)).map(({ caller }) => caller));
    assert.deepEqual([...callers].sort(), all, rpc);
  }
});

test('the table expects each caller either served or refused, never both', () => {
  for (const { rpc, cases } of table) {
    for (const { rule } of cases) {
      const expectations = new Map<string, string>();
      for (const { who, token, expected } of cellsOf(rule, names)) {
        const outcome = expected === 'served' ? 'served' : 'refused';
        const key = JSON.stringify([who, token]);
        assert.equal(expectations.get(key) ?? outcome, outcome, `${rpc}: ${key}`);
        expectations.set(key, outcome);
      }
    }
  }
});

test('reports an outcome that is too open, too strict, or has another reason or scope', () => {
  const served = { caller: 'the right one', who: { kind: 'anonymous' }, token: 'good', expected: 'served' } as const;
  const refused = {
    ...served,
    expected: { code: 'PERMISSION_DENIED', reason: 'ACCESS_DENIED', metadata: { scope: '/a' } },
  } as const;
  const ok = { code: 'OK', reason: '', message: '', metadata: {} };
  const denied = { code: 'PERMISSION_DENIED', reason: 'ACCESS_DENIED', message: 'no', metadata: { scope: '/a' } };
  assert.equal(wrongWith(served, ok), undefined);
  assert.equal(wrongWith(served, { ...ok, code: 'NOT_FOUND', reason: 'VAULT_NOT_FOUND' }), undefined);
  assert.equal(wrongWith(refused, denied), undefined);

  assert.ok(wrongWith(refused, ok));
  assert.ok(wrongWith(served, denied));
  assert.ok(wrongWith(served, { ...ok, code: 'UNAUTHENTICATED', reason: 'TOKEN_MISSING' }));
  assert.ok(wrongWith(served, { ...ok, code: 'INTERNAL' }));
  assert.ok(wrongWith(refused, { ...denied, reason: 'WORKLOAD_REQUIRED' }));
  assert.ok(wrongWith(refused, { ...denied, metadata: { scope: '/b' } }));
  assert.ok(wrongWith(refused, { ...denied, metadata: {} }));
});

test('docs/authorization.md matches the table (node e2e/authorization/write-page.ts writes it)', () => {
  assert.equal(textOf(authorizationPage), pageOf(table));
});
