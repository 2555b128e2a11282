import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { printEstate } from '../print-estate.ts';
import { readEstate } from '../read-estate.ts';
import { estateFromAzure, type Twin } from './estate-from-azure.ts';

const sample = (name: string) => ({ name, text: readFileSync(new URL(`samples/${name}`, import.meta.url), 'utf8') });
const lists = [sample('vms.json'), sample('disks.json'), sample('sets.json')];

const nowMs = Date.UTC(2026, 0, 1);

const twinOf = (files: readonly { name: string; text: string }[] = lists, scale = 1_024): Twin => {
  const made = estateFromAzure(files, { scale, nowMs });
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
    const made = estateFromAzure([{ name: 'vms.json', text }], { scale: 1, nowMs });
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
  assert.equal(problem('[{"name": "x"}]'), '1: row 1 ("x") is no machine, disk, disk encryption set, vault or key');
  assert.equal(problem('{"fields": 1}'), '1: the file is an object with the fields fields, not a list');
});

const file = (name: string, rows: unknown) => ({ name, text: JSON.stringify(rows) });
const url = 'https://kv-prod-we.vault.azure.net/keys';
/** A row of `az keyvault key list`, or with a version of `list-versions`. */
const keyRow = (key: string, attributes: object = {}) => ({
  attributes: { enabled: true, created: '2025-01-01T00:00:00+00:00', recoveryLevel: 'Recoverable', ...attributes },
  kid: `${url}/${key}`,
  name: key.split('/')[0],
  managed: null,
  releasePolicy: null,
  tags: null,
});
const keyOf = (twin: Twin, name: string) =>
  twin.estate.vaults.flatMap(({ keys }) => keys).find((key) => key.name === name);

test('an empty list is refused, because a missing right of the account looks the same', () => {
  for (const text of ['[]', '{"data": []}', '{"value": []}', '{"data": {"columns": [], "rows": []}}']) {
    const made = estateFromAzure([...lists, { name: 'empty.json', text }], { scale: 1, nowMs });
    assert.ok('problems' in made, text);
    assert.deepEqual(
      made.problems.map(({ file: of, message }) => `${of}: ${message}`),
      ['empty.json: the list is empty'],
    );
    assert.match(made.problems[0]?.cure ?? '', /az account show.*leave the file out/);
  }
});

test('rows of az keyvault list have no properties: that is said, and az keyvault show completes them in any order', () => {
  const id = '/subscriptions/x/resourceGroups/y/providers/Microsoft.KeyVault/vaults/kv-prod-we';
  const bare = { id, name: 'kv-prod-we', location: 'westeurope', type: 'Microsoft.KeyVault/vaults', tags: {} };
  const whole = {
    ...bare,
    properties: {
      enableRbacAuthorization: true,
      enablePurgeProtection: null,
      softDeleteRetentionInDays: 90,
      vaultUri: 'https://kv-prod-we.vault.azure.net/',
      sku: { family: 'A', name: 'standard' },
      accessPolicies: [{ objectId: '1' }],
      networkAcls: { defaultAction: 'Deny' },
      publicNetworkAccess: 'Disabled',
    },
  };
  const listed = twinOf([...lists, file('vaults.json', [bare])]);
  assert.equal(listed.estate.vaults[0]?.permissions, undefined);
  assert.match(
    reasons(listed.changed)['vault kv-prod-we'] ?? '',
    /no properties.*access policies.*az keyvault show --name kv-prod-we -o json/,
  );
  for (const files of [
    [file('a.json', [bare]), file('b.json', whole)],
    [file('a.json', whole), file('b.json', [bare])],
  ]) {
    const twin = twinOf([...lists, ...files]);
    assert.equal(twin.estate.vaults[0]?.permissions, 'roles');
    assert.equal(reasons(twin.changed)['vault kv-prod-we'], undefined);
    assert.deepEqual(
      twin.ignored.filter(({ kind }) => kind === 'vault').map(({ property, of }) => `${property} ${of.join()}`),
      [
        'accessPolicies kv-prod-we',
        'enablePurgeProtection: false kv-prod-we',
        'softDeleteRetentionInDays kv-prod-we',
        'networkAcls.defaultAction: Deny kv-prod-we',
        'publicNetworkAccess: Disabled kv-prod-we',
      ],
    );
  }
});

test('az keyvault key list says which keys are disabled or have expired', () => {
  const twin = twinOf([
    ...lists,
    file('keys.json', [
      keyRow('app', { enabled: false }),
      keyRow('db', { expires: '2025-12-31T00:00:00+00:00' }),
      keyRow('unused'),
    ]),
  ]);
  assert.deepEqual(keyOf(twin, 'app')?.versions, ['disabled']);
  assert.deepEqual(keyOf(twin, 'db')?.versions, ['disabled']);
  assert.match(reasons(twin.changed)['key kv-prod-we/db'] ?? '', /expired at 2025-12-31T00:00:00Z: it is disabled/);
  assert.equal(reasons(twin.notMapped)['key kv-prod-we/unused'], 'no set of the files uses it');
  const later = twinOf([
    ...lists,
    file('keys.json', [
      keyRow('db', { exp: Date.UTC(2027, 0, 1) / 1_000 }),
      keyRow('app', { notBefore: '2026-06-01T00:00:00Z' }),
    ]),
  ]);
  assert.equal(keyOf(later, 'db')?.versions, undefined);
  assert.match(reasons(later.changed)['key kv-prod-we/db'] ?? '', /expires at 2027-01-01T00:00:00Z, and in the twin/);
  assert.deepEqual(keyOf(later, 'app')?.versions, ['disabled']);
  assert.deepEqual(readEstate(printEstate(later.estate, [])), { estate: later.estate });
});

test('az keyvault key list-versions says which versions there are, in what order, and their states', () => {
  const id = (n: number) => `${n}`.padStart(32, '0');
  const version = (n: number, created: string, more: object = {}) =>
    keyRow(`app/${id(n)}`, { created: `${created}T00:00:00+00:00`, ...more });
  const versions = file('versions.json', [
    version(3, '2025-06-01', { enabled: false }),
    version(1, '2025-03-01'),
    version(2, '2025-01-01', { expires: '2025-02-01T00:00:00Z' }),
  ]);
  const twin = twinOf([
    ...lists,
    versions,
    file('show.json', { key: { kid: `${url}/db/${id(7)}`, kty: 'RSA' }, attributes: { enabled: false } }),
  ]);
  assert.deepEqual(keyOf(twin, 'app')?.versions, ['disabled', 'enabled', 'disabled']);
  // The set uses version 1 of Azure, which is the second by age.
  assert.equal(twin.estate.sets.find(({ name }) => name === 'des-app')?.version, 2);
  assert.match(reasons(twin.changed)['version 1 of key kv-prod-we/app'] ?? '', /expired at 2025-02-01/);
});

test('every ignored property that matters for keys or encryption is listed once, with its resources', () => {
  const rows = (name: string) => JSON.parse(sample(name).text) as Record<string, unknown>[];
  const [machines, disks, sets] = [rows('vms.json'), rows('disks.json'), rows('sets.json')];
  const found = (all: Record<string, unknown>[], name: string) =>
    all.find((one) => one.name === name) ?? assert.fail(name);
  for (const name of ['web-01', 'db-01'])
    Object.assign(found(machines, name), { securityProfile: { encryptionAtHost: true } });
  Object.assign(found(machines, 'dev-01'), {
    securityProfile: { encryptionAtHost: false, encryptionIdentity: { userAssignedIdentityResourceId: '/x' } },
    osProfile: { secrets: [{ sourceVault: { id: '/x' } }] },
  });
  Object.assign(found(disks, 'spare'), { encryptionSettingsCollection: { enabled: true } });
  Object.assign(found(disks, 'web-01_OsDisk_1'), { encryptionSettingsCollection: { enabled: false } });
  Object.assign(found(sets, 'des-app'), {
    federatedClientId: 'f',
    autoKeyRotationError: { code: 'x' },
    previousKeys: [{ keyUrl: 'https://old.vault.azure.net/keys/app/1' }],
    identity: { type: 'UserAssigned', userAssignedIdentities: { '/x': {} } },
  });
  const twin = twinOf([file('v', machines), file('d', disks), file('s', sets)]);
  assert.deepEqual(
    twin.ignored.map(({ property, kind, of }) => `${kind} ${property}: ${of.join(' ')}`),
    [
      'machine securityProfile.encryptionAtHost: web-01 db-01',
      'machine securityProfile.encryptionIdentity: dev-01',
      'machine osProfile.secrets: dev-01',
      'disk encryptionSettingsCollection: spare',
      'set federatedClientId: des-app',
      'set identity.userAssignedIdentities: des-app',
      'set autoKeyRotationError: des-app',
      'set previousKeys: des-app',
    ],
  );
});

test('machines that are not in the twin are named', () => {
  const { machinesLeftOut, notMapped } = twinOf();
  assert.deepEqual(
    machinesLeftOut.map((name) => `machine ${name}`),
    notMapped.map(({ what }) => what).filter((what) => what.startsWith('machine ')),
  );
  assert.ok(machinesLeftOut.includes('legacy-01 (group rg-app)'));
});
