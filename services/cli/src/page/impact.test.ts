import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Caller } from '../request/calls.ts';
import { impactAnswer, type PageImpact } from './impact.ts';
import { group, short, TestCloud } from './test-cloud.ts';

const set = `${group}/diskEncryptionSets/des1`;

/** What a page would receive for an address. */
const read = async (from: TestCloud | { readonly caller: Pick<Caller, 'call'> }, path: string): Promise<PageImpact> => {
  const answer = await impactAnswer(path, { caller: 'caller' in from ? from.caller : from, short });
  assert.ok(answer, path);
  return JSON.parse(String(answer.body));
};

test('the impact of each kind names the machines first, and the commands that show and cause it', async () => {
  const cloud = new TestCloud(3, Date.now);
  const key = await read(cloud, 'impact/DISABLE/vaults/kv1/keys/k1');
  assert.match(key.text, /^if every version of kv1\/k1 were disabled: 3 machines would stop/);
  assert.deepEqual(
    key.parts.map(({ title, count, names }) => [title, count, names.length]),
    [['Machines that stop', 3, 3]],
  );
  assert.deepEqual(key.commands, ['npx interlock impact kv1/k1', 'npx interlock key disable kv1/k1']);
  const version = await read(cloud, 'impact/EXPIRE/vaults/kv1/keys/k1/versions/7');
  assert.deepEqual(version.commands, ['npx interlock impact kv1/k1/7 --action EXPIRE']);
  const vault = await read(cloud, 'impact/DELETE/vaults/kv1');
  assert.deepEqual(vault.commands, ['npx interlock impact kv1', 'npx interlock vault delete kv1']);
  const identity = await read(cloud, `impact/REVOKE/${set}`);
  assert.match(identity.text, /^if all grants of des1 were revoked: 3 machines/);
  assert.deepEqual(identity.commands, ['npx interlock impact set:des1']);
  const host = await read(cloud, 'impact/LOSE/diskHosts/h1');
  assert.match(host.text, /^depends on h1: 4 machines, 4 disks/);
  assert.deepEqual(host.commands, ['npx interlock disk-host impact h1']);
});

test('an impact that a service refuses says why; an address of something else is not there', async () => {
  const cloud = new TestCloud(1, Date.now);
  cloud.forbid('PreviewImpact');
  const { problem, parts } = await read(cloud, 'impact/DISABLE/vaults/kv1/keys/k1');
  assert.match(problem, /PreviewImpact/);
  assert.deepEqual(parts, []);
  for (const path of [
    'impact/DISABLE/vaults/kv1',
    'impact/REVOKE/vaults/kv1/keys/k1',
    'impact/LOSE/vaults/kv1',
    'impact/DISABLE/principals/me',
    `impact/REVOKE/${group}/virtualMachines/vm1`,
    'impact/DISABLE/vaults/kv1/keys/%2e%2e',
    'impact/disable/vaults/kv1/keys/k1',
    'impact//vaults/kv1',
  ])
    assert.equal(await impactAnswer(path, { caller: cloud, short }), undefined, path);
});

test('of a large estate 20,000 lines are read, by one request at a time, and 200 names are sent', async () => {
  const cloud = new TestCloud(30_000, Date.now);
  let [underWay, most] = [0, 0];
  const caller: Pick<Caller, 'call'> = {
    call: async (service, method, request) => {
      underWay += 1;
      most = Math.max(most, underWay);
      return cloud.call(service, method, request).finally(() => {
        underWay -= 1;
      });
    },
  };
  const [key, other] = await Promise.all(
    ['k1', 'k2'].map((name) => read({ caller }, `impact/DISABLE/vaults/kv1/keys/${name}`)),
  );
  assert.equal(most, 1);
  assert.equal(cloud.calls.get('PreviewImpact'), 40);
  assert.equal(other?.isCut, true);
  assert.deepEqual(
    key?.parts.map(({ count, names }) => [count, names.length]),
    [[19_999, 200]],
  );
});
