import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { RpcFailure } from '@interlock/rpc';
import { testProgram } from '../session/test-session.ts';
import { lastVersionDoubt, scopeDoubt } from './doubts.ts';

const group = 'subscriptions/s/resourceGroups/g';
const answering = (answer: { readonly resourceGroup: string } | Error) => ({
  call: async () => {
    if (answer instanceof Error) throw answer;
    return { ...answer };
  },
});
const asked = (scope: string, answer: { readonly resourceGroup: string } | Error) =>
  scopeDoubt(answering(answer), { scope }, {});

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

test('a role in a subscription or tenant that is not there is said to have no effect', async () => {
  for (const [scope, reason] of [
    ['subscriptions/nope', 'SUBSCRIPTION_NOT_FOUND'],
    ['tenants/nope', 'TENANT_NOT_FOUND'],
  ] as const) {
    const missing = new Rejection('NOT_FOUND', reason, '');
    assert.equal(
      await asked(scope, missing),
      `there is no ${scope}: the role has no effect until one of that name is made`,
    );
    assert.equal(await asked(scope, { resourceGroup: '' }), undefined);
    assert.equal(await asked(scope, new Rejection('PERMISSION_DENIED', 'ACCESS_DENIED', '')), undefined);
  }
  const below = await asked(`${group}/vaults/kv1`, new Rejection('NOT_FOUND', 'SUBSCRIPTION_NOT_FOUND', ''));
  assert.match(below ?? '', /^there is no subscriptions\/s: /);
});

test('nothing is said of a vault that is there, of other scopes, and to whoever may not see vaults', async () => {
  assert.equal(await asked(`${group}/vaults/kv1`, { resourceGroup: group }), undefined);
  for (const scope of ['/', group])
    assert.equal(await asked(scope, new Rejection('NOT_FOUND', 'VAULT_NOT_FOUND', '')), undefined);
  assert.equal(await asked(`${group}/vaults/kv1`, new Rejection('PERMISSION_DENIED', 'ACCESS_DENIED', '')), undefined);
});

test('a key vault that gives no answer leaves it open whether the role has an effect, which is said', async () => {
  for (const outage of [
    new RpcFailure('UNAVAILABLE', 'GetVault', 'p', 'connect ECONNREFUSED'),
    new Rejection('UNAVAILABLE', 'STORE_UNAVAILABLE', 'the store does not answer'),
  ]) {
    const said = await asked(`${group}/vaults/kv1`, outage);
    assert.match(said ?? '', /the role is given; whether there is vaults\/kv1 .* is not known: .*(ECONNREFUSED|store)/);
  }
  await assert.rejects(asked(`${group}/vaults/kv1`, new TypeError('defect')), TypeError);
});

test('whoever disables the last enabled version by its name is told that the whole key is off', async () => {
  const key = 'vaults/kv1/keys/k1';
  const versions = (...enabled: readonly boolean[]) =>
    enabled.map((one, n) => ({ name: `${key}/versions/${n}`, enabled: one }));
  const asking = (...pages: readonly (readonly boolean[])[]) => {
    const left = pages.map((page, n) => ({
      keyVersions: versions(...page),
      nextPageToken: n + 1 < pages.length ? 'more' : '',
    }));
    return lastVersionDoubt({ call: async () => left.shift() ?? assert.fail() }, { name: `${key}/versions/0` }, {});
  };
  assert.match(
    (await asking([false, false])) ?? '',
    /no version of kv1\/k1 is enabled any more: the whole key is off.*interlock key enable kv1\/k1\/0$/,
  );
  assert.match((await asking([false], [false])) ?? '', /the whole key is off/);
  assert.equal(await asking([false, true]), undefined);
  assert.equal(await asking([false], [true]), undefined);
  const unasked = { call: async () => assert.fail('a key that is disabled says so itself') };
  assert.equal(await lastVersionDoubt(unasked, { name: key }, {}), undefined);
  const refusing = { call: async () => Promise.reject(new Rejection('PERMISSION_DENIED', 'ACCESS_DENIED', '')) };
  assert.equal(await lastVersionDoubt(refusing, { name: `${key}/versions/0` }, {}), undefined);
});

test('G10: a machine that runs and waits for a key vault is said to wait, alone and in a list, to whoever may see leases', async () => {
  const own = 'subscriptions/local/resourceGroups/g';
  const set = `${own}/diskEncryptionSets/des1`;
  const vm = { name: `${own}/virtualMachines/vm1`, powerState: 'RUNNING', osDisk: { disk: `${own}/disks/d1` } };
  const since = '2026-01-01T00:00:00Z';
  const lease = (state: string, of = set) => ({ leases: [{ diskEncryptionSet: of, state, since }], nextPageToken: '' });
  const told = async (ListLeases: ReturnType<typeof lease> | Error, machine: object = vm) => {
    const GetDisk = { encryption: { diskEncryptionSet: set } };
    const answers = { GetVirtualMachine: { ...machine }, ListVirtualMachines: { virtualMachines: [{ ...machine }] } };
    const { run, asides } = testProgram({ ...answers, GetDisk, ListLeases });
    await run('vm', 'show', 'vm1');
    const shown = asides.join();
    await run('vm', 'list');
    return [shown, asides.join().slice(shown.length)] as const;
  };
  for (const said of await told(lease('PAUSED')))
    assert.match(said, /reads and writes on disks of des1 wait.*gives no answer since 2026-01-01T00:00:00Z/);
  assert.deepEqual(await told(lease('HELD')), ['', '']);
  assert.deepEqual(await told(lease('PAUSED'), { ...vm, powerState: 'STOPPED' }), ['', '']);
  const [, ofOthers] = await told(lease('PAUSED', 'subscriptions/local/resourceGroups/g2/diskEncryptionSets/des1'));
  assert.equal(ofOthers, '', 'the list is of one group');
  assert.deepEqual(await told(new Rejection('PERMISSION_DENIED', 'ACCESS_DENIED', '')), ['', '']);
  const waited = testProgram({ GetVirtualMachine: { ...vm }, GetDisk: {}, ListLeases: lease('HELD') });
  await waited.run('vm', 'show', 'vm1');
  const shortly = waited.sent.map(({ service }, n) => [service, waited.deadlines[n]]);
  assert.deepEqual(shortly, [
    ['compute', undefined],
    ['disk', 2_000],
  ]);
  for (const said of await told(new RpcFailure('UNAVAILABLE', 'ListLeases', 'p', 'refused. Resolution note: ')))
    assert.match(said, /is not known: .*refused \(interlock status shows who serves\)$/);
});
