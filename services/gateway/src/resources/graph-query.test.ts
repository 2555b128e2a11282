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

test('a tag with the name of a method is a tag like others', async () => {
  const odd = [{ name: 'a', tags: { toString: 'x', valueOf: 'y' } }];
  const of = (query: string) => graphQueryOf(query).run(odd, testWork());
  assert.deepEqual(await of('resources | order by tags | project name'), [{ name: 'a' }]);
  assert.deepEqual(await of("resources | where tags contains 'valueOf' | count"), [{ Count: 1 }]);
  assert.deepEqual(await of('resources | project t = tolower(tags)'), [{ t: '{"tostring":"x","valueof":"y"}' }]);
});

test('a query over many rows gives other requests a turn', async () => {
  let turns = 0;
  const work = testWork({}, async () => {
    turns += 1;
  });
  const many = Array.from({ length: 5_000 }, (_, n) => ({ name: `n${n}`, properties: { a: n } }));
  const columns = Array.from({ length: 60 }, (_, n) => `c${n} = properties.a`).join(', ');
  const found = await graphQueryOf(`resources | project ${columns} | count`).run(many, work);
  assert.deepEqual(found, [{ Count: 5_000 }]);
  assert.ok(turns >= 50, `${turns} turns`);
});

test('a quoted text may have marks, comments and doubled quotes', async () => {
  const odd = [{ name: "a|b // it's" }];
  const query = "resources | where name == 'a|b // it''s' // comment | where x\n| count";
  assert.deepEqual(await graphQueryOf(query).run(odd, testWork()), [{ Count: 1 }]);
});
