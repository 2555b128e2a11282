import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { printEstate } from '../print-estate.ts';
import { readEstate } from '../read-estate.ts';
import { estateFromAzure, type Twin } from './estate-from-azure.ts';

const sample = (name: string) => ({ name, text: readFileSync(new URL(`samples/${name}`, import.meta.url), 'utf8') });
const lists = [sample('vms.json'), sample('disks.json'), sample('sets.json')];

const twinOf = (files: readonly { name: string; text: string }[] = lists, scale = 1_024): Twin => {
  const made = estateFromAzure(files, { scale });
  assert.ok('estate' in made, JSON.stringify(made));
  return made;
};
const reasons = (notes: Twin['notMapped']): Readonly<Record<string, string>> =>
  Object.fromEntries(notes.map(({ what, reason }) => [what, reason]));

test('every machine, disk and set of the files is in the twin or in notMapped', () => {
  const { estate, notMapped } = twinOf();
  const rows = lists.flatMap(({ text }) => JSON.parse(text) as { name: string; type: string }[]);
  for (const { name, type } of rows) {
    const all = [...estate.machines, ...estate.disks, ...estate.sets];
    const isMapped = all.some((one) => one.name === name || one.name === `${name}-rg-dev`);
    const isNoted = notMapped.some(({ what }) => what.includes(` ${name} (`));
    assert.ok(isMapped || isNoted, `${type} ${name}`);
  }
});

test('classes, sets, keys and attachments are those of Azure; sizes are divided by the scale', () => {
  const { estate } = twinOf();
  const disk = (name: string) => estate.disks.find((one) => one.name === name);
  assert.deepEqual(disk('db-01_data0'), { name: 'db-01_data0', class: 'ultra', gib: 2, set: 'des-db' });
  assert.deepEqual(disk('spare'), { name: 'spare', class: 'premium-ssd-v2', gib: 1, set: 'des-db' });
  assert.deepEqual(disk('dev-01_OsDisk_1'), { name: 'dev-01_OsDisk_1', class: 'standard-ssd', gib: 1 });
  assert.deepEqual(estate.sets, [
    { name: 'des-app', key: 'kv-prod-we/app', autoKeyRotation: true },
    { name: 'des-db', key: 'kv-prod-we/db' },
    { name: 'des-archive', key: 'hsm-prod/archive', encryption: 'platform-and-customer-keys' },
  ]);
  assert.deepEqual(
    estate.machines.find(({ name }) => name === 'db-01'),
    {
      name: 'db-01',
      osDisk: 'db-01_OsDisk_1',
      dataDisks: [
        { lun: 0, disk: 'db-01_data0' },
        { lun: 1, disk: 'db-01_log' },
      ],
    },
  );
  assert.equal(estate.machines.find(({ name }) => name === 'dev-01')?.running, false);
  assert.equal(twinOf(lists, 1).estate.disks.find(({ name }) => name === 'arch-01_cold')?.gib, 8_192);
});

test('resources without a counterpart are listed in notMapped with the reason', () => {
  const { notMapped } = twinOf();
  const found = reasons(notMapped);
  for (const [what, reason] of [
    ['set des-conf (group rg-data)', /ConfidentialVmEncryptedWithCustomerKey has no counterpart/],
    ['disk conf-01_OsDisk_1 (group rg-data)', /security type ConfidentialVM_/],
    ['machine conf-01 (group rg-data)', /security type ConfidentialVM /],
    ['disk gis-01_tiles (group rg-app)', /SKU PremiumV9_LRS has no counterpart/],
    ['machine legacy-01 (group rg-app)', /unmanaged disk/],
    ['machine old-01 (group rg-app)', /no row in the disk files/],
    ['disk moved_data (group rg-shared)', /in the subscription 99999999-/],
  ] as const)
    assert.match(found[what] ?? 'missing', reason, what);
});

test('resources that are mapped differently are listed: shared, ephemeral and unknown disks, equal names, an HSM', () => {
  const { changed, estate } = twinOf();
  const found = reasons(changed);
  assert.match(found['disk sql-shared'] ?? '', /machines share it: sql-02 has a disk sql-shared-sql-02 of its own/);
  assert.match(found['machine batch-01 (group rg-app)'] ?? '', /OS disk is ephemeral/);
  assert.match(found['machine gis-01 (group rg-app)'] ?? '', /it has no disk gis-01_tiles/);
  assert.match(found['machine web-01 (group rg-dev)'] ?? '', /it is called web-01-rg-dev/);
  assert.match(found['disk new-01_OsDisk_1 (group rg-app)'] ?? '', /mapped as the row of its machine says/);
  assert.match(found['managed HSM hsm-prod'] ?? '', /in a vault of this name/);
  assert.equal(estate.disks.filter(({ name }) => name.startsWith('sql-shared')).length, 2);
});

test('rows of Resource Graph, files in another order or split, and other letter case give the same twin', () => {
  const twin = twinOf();
  assert.deepEqual(twinOf([sample('graph.json')]), twin);
  assert.deepEqual(twinOf(lists.toReversed()).estate.machines, twin.estate.machines);
  const rows = JSON.parse(sample('vms.json').text) as unknown[];
  const half = (part: unknown[], name: string) => ({ name, text: JSON.stringify(part) });
  const [, ...rest] = lists;
  assert.deepEqual(twinOf([half(rows.slice(0, 7), 'a.json'), ...rest, half(rows.slice(7), 'b.json')]), twin);
  const shouted = lists.map(({ name, text }) => ({
    name,
    text: text.replace(/"(\w+)":/g, (_, field) => `"${field.toUpperCase()}":`),
  }));
  assert.deepEqual(twinOf(shouted), twin);
  const cells = rows.map((row) => Object.values(row as object));
  const columns = Object.keys(rows[0] as object).map((name) => ({ name, type: 'string' }));
  assert.deepEqual(
    twinOf([{ name: 't.json', text: JSON.stringify({ data: { columns, rows: cells } }) }, ...rest]),
    twin,
  );
});

test('a vault row with enableRbacAuthorization gives a vault with permissions: roles', () => {
  const vault = {
    id: '/subscriptions/x/resourceGroups/y/providers/Microsoft.KeyVault/vaults/KV-prod-WE',
    name: 'KV-prod-WE',
    type: 'Microsoft.KeyVault/vaults',
    properties: { enableRbacAuthorization: true },
  };
  const { estate } = twinOf([...lists, { name: 'vaults.json', text: JSON.stringify([vault]) }]);
  assert.equal(estate.vaults[0]?.permissions, 'roles');
});

test('a printed twin is a valid estate file', () => {
  const { estate } = twinOf();
  assert.deepEqual(readEstate(printEstate(estate, ['a remark'])), { estate });
});

test('a machine is not mapped if one of its disks is under a key and cannot be mapped', () => {
  const disks = JSON.parse(sample('disks.json').text) as { name: string; sku: { name: string } }[];
  const changed = disks.map((disk) => (disk.name === 'db-01_log' ? { ...disk, sku: { name: 'New_LRS' } } : disk));
  const { notMapped, estate } = twinOf(
    [lists[0], { name: 'd.json', text: JSON.stringify(changed) }, lists[2]].flatMap((file) => file ?? []),
  );
  assert.match(
    reasons(notMapped)['machine db-01 (group rg-data)'] ?? '',
    /its disk db-01_log is under a key and is not mapped: its SKU New_LRS/,
  );
  assert.ok(!estate.machines.some(({ name }) => name === 'db-01'));
});

test('invalid JSON is reported with file, line and the expected command', () => {
  const problem = (text: string) => {
    const made = estateFromAzure([{ name: 'vms.json', text }], { scale: 1 });
    assert.ok('problems' in made, text);
    const [first] = made.problems;
    assert.equal(first?.file, 'vms.json');
    assert.match(first?.cure ?? '', /az vm list -d/);
    return `${first?.line}: ${first?.message}`;
  };
  assert.match(problem('[\n  {"id": 1,\n  oops}\n]'), /^3: the JSON is not valid/);
  assert.match(problem('[\n  {"id": "x"},\n'), /^2: the JSON is not valid/);
  assert.equal(problem(' \n'), '1: the file is empty');
  assert.equal(problem('"x"'), '1: the file is a string, not a list');
  assert.equal(problem('{"error": {}}'), '1: the file is an object with the fields error, not a list');
  assert.equal(problem('[1]'), '1: row 1 is a number, not an object');
  assert.equal(problem('[{"name": "x"}]'), '1: row 1 ("x") is no machine, disk, disk encryption set or vault');
});
