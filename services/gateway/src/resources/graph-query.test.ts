import assert from 'node:assert/strict';
import { test } from 'node:test';
import { graphQueryOf } from './graph-query.ts';

const disk = (name: string, sizeGb: number, set?: string) => ({
  name,
  type: 'microsoft.compute/disks',
  tags: { 'cost center': name },
  properties: { diskSizeGB: sizeGb, encryption: { diskEncryptionSetId: set ?? null } },
});
const rows = [disk('a', 4, '/des1'), disk('B', 8), { name: 'kv1', type: 'microsoft.keyvault/vaults', properties: {} }];
const run = (query: string) => graphQueryOf(query).run(rows);

test('a query filters, projects, sorts, counts and groups', () => {
  assert.equal(graphQueryOf('Resources | count').table, 'resources');
  const disks = "Resources // all\n| where type =~ 'Microsoft.Compute/disks'";
  assert.deepEqual(run(`${disks} | project name, gib = properties.diskSizeGB | order by name asc`), [
    { name: 'a', gib: 4 },
    { name: 'B', gib: 8 },
  ]);
  assert.deepEqual(run(`${disks} and isnotempty(properties.encryption.diskEncryptionSetId) | project name`), [
    { name: 'a' },
  ]);
  assert.deepEqual(run("resources | where tags['cost center'] == 'B' and properties.diskSizeGB == 8 | project name"), [
    { name: 'B' },
  ]);
  assert.deepEqual(run("resources | where name in~ ('A', 'kv1') | count"), [{ Count: 2 }]);
  assert.deepEqual(run('resources | summarize count() by type'), [
    { type: 'microsoft.compute/disks', count_: 2 },
    { type: 'microsoft.keyvault/vaults', count_: 1 },
  ]);
  assert.deepEqual(run('resources | distinct type | take 1'), [{ type: 'microsoft.compute/disks' }]);
});

test('an unsupported query is refused with NotSupported', () => {
  for (const query of [
    'resources | join x',
    "resources | where name > 'a'",
    'resources | summarize sum(x)',
    'resources | project f(x)',
  ])
    assert.throws(() => run(query), { status: 400, code: 'NotSupported' });
});
