import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { scopeDoubt } from './doubts.ts';

const group = 'subscriptions/s/resourceGroups/g';
const answering = (answer: { readonly resourceGroup: string } | Rejection) => ({
  call: async () => {
    if (answer instanceof Rejection) throw answer;
    return { ...answer };
  },
});
const asked = (scope: string, answer: { readonly resourceGroup: string } | Rejection) =>
  scopeDoubt(answering(answer), { scope });

test('a role on a vault that is not there, or lies elsewhere, is said to have no effect', async () => {
  const missing = new Rejection('NOT_FOUND', 'VAULT_NOT_FOUND', '');
  assert.match(
    (await asked(`${group}/vaults/kv9`, missing)) ?? '',
    /there is no vaults\/kv9: the role has no effect until/,
  );
  assert.match((await asked(`${group}/vaults/kv9/keys/k`, missing)) ?? '', /there is no vaults\/kv9/);
  const elsewhere = { resourceGroup: 'subscriptions/s/resourceGroups/other' };
  assert.match(
    (await asked(`${group}/vaults/kv1`, elsewhere)) ?? '',
    /its scope is subscriptions\/s\/resourceGroups\/other\/vaults\/kv1$/,
  );
});

test('nothing is said of a vault that is there, of other scopes, and to whoever may not see vaults', async () => {
  assert.equal(await asked(`${group}/vaults/kv1`, { resourceGroup: group }), undefined);
  for (const scope of ['/', group])
    assert.equal(await asked(scope, new Rejection('NOT_FOUND', 'VAULT_NOT_FOUND', '')), undefined);
  assert.equal(await asked(`${group}/vaults/kv1`, new Rejection('PERMISSION_DENIED', 'ACCESS_DENIED', '')), undefined);
});
