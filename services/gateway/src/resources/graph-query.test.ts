import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testWork } from '../text/test-work.ts';
import { graphQueryOf } from './graph-query.ts';

const disk = (name: string, sizeGb: number, set?: string) => ({
  name,
  type: 'microsoft.compute/disks',
  tags: { 'cost center': name },
  properties: { diskSizeGB: sizeGb, encryption: { diskEncryptionSetId: set ?? null } },
});
const rows = [disk('a', 4, '/des1'), disk('B', 8), { name: 'kv1', type: 'microsoft.keyvault/vaults', properties: {} }];
const run = async (query: string) => graphQueryOf(query).run(rows, testWork());

test('a query filters, projects, sorts, counts and groups', async () => {
  assert.equal(graphQueryOf('Resources | count').table, 'resources');
  const disks = "Resources // all\n| where type =~ 'Microsoft.Compute/disks'";
  assert.deepEqual(await run(`${disks} | project name, gib = properties.diskSizeGB | order by name asc`), [
    { name: 'a', gib: 4 },
    { name: 'B', gib: 8 },
  ]);
  assert.deepEqual(await run(`${disks} and isnotempty(properties.encryption.diskEncryptionSetId) | project name`), [
    { name: 'a' },
  ]);
  assert.deepEqual(
    await run("resources | where tags['cost center'] == 'B' and properties.diskSizeGB == 8 | project name"),
    [{ name: 'B' }],
  );
  assert.deepEqual(await run("resources | where name in~ ('A', 'kv1') | count"), [{ Count: 2 }]);
  assert.deepEqual(await run('resources | summarize count() by type'), [
    { type: 'microsoft.compute/disks', count_: 2 },
    { type: 'microsoft.keyvault/vaults', count_: 1 },
  ]);
  assert.deepEqual(await run('resources | distinct type | take 1'), [{ type: 'microsoft.compute/disks' }]);
});

test('an unsupported query is refused with NotSupported', async () => {
  for (const query of [
    'resources | join x',
    "resources | where name > 'a'",
    'resources | summarize sum(x)',
    'resources | project f(x)',
  ])
    await assert.rejects(run(query), { status: 400, code: 'NotSupported' });
});
