import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import { readEstate } from '@interlock/lab';
import { UsageError } from '../problems.ts';
import { ADMINISTRATOR, type Answers, testProgram } from '../session/test-session.ts';

const group = 'subscriptions/local/resourceGroups/g';
const version = (n: number) => `vaults/kv1/keys/k1/versions/${String(n).repeat(32)}`;
const identity = 'principals/00000000-0000-4000-8000-0000000000bb';
const file = `
location: westeurope
vaults: [{name: kv1, keys: [{name: k1, versions: [disabled, enabled]}]}]
sets: [{name: des1, key: kv1/k1}]
disks: [{name: os, class: premium-ssd, gib: 1, set: des1}, {name: data, class: ultra, gib: 2, set: des1}]
machines:
  - {name: web, osDisk: os}
`;
const files = { 'estate.yaml': file };
const gone = new Rejection('NOT_FOUND', 'NOT_FOUND', 'gone');
const keyVersions = [1, 2].map((n) => ({
  name: version(n),
  enabled: true,
  keyUrl: `https://kv1/keys/k1/${n}`,
  createTime: `2026-01-0${n}T00:00:00Z`,
}));
const set: JsonObject = {
  name: `${group}/diskEncryptionSets/des1`,
  location: 'westeurope',
  provisioningState: 'SUCCEEDED',
  identity: { principal: identity },
  encryptionType: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY',
  activeKey: { keyVersion: version(2) },
  keyAccess: [{ keyVersion: version(2), state: 'LOST', reason: 'ACCESS_DENIED' }],
};
const osDisk: JsonObject = {
  name: `${group}/disks/os`,
  location: 'westeurope',
  provisioningState: 'SUCCEEDED',
  sku: 'PREMIUM_SSD',
  sizeGib: '1',
  keyVersion: version(2),
  encryption: { diskEncryptionSet: `${group}/diskEncryptionSets/des1` },
};
const dataDisk: JsonObject = { ...osDisk, name: `${group}/disks/data`, sku: 'ULTRA', sizeGib: '2' };
const web: JsonObject = {
  name: `${group}/virtualMachines/web`,
  location: 'westeurope',
  provisioningState: 'SUCCEEDED',
  powerState: 'RUNNING',
  osDisk: { disk: `${group}/disks/os` },
  dataDisks: [],
};
const vault: JsonObject = {
  name: 'vaults/kv1',
  location: 'westeurope',
  resourceGroup: group,
  permissionModel: 'ACCESS_POLICY',
};
const fresh: Answers = {
  GetVault: [gone, vault],
  GetKey: gone,
  GetDiskEncryptionSet: [gone, set],
  GetDisk: gone,
  GetVirtualMachine: gone,
  ListKeyVersions: [{ keyVersions: keyVersions.slice(0, 1) }, { keyVersions }],
  CreateDiskEncryptionSet: set,
  CreateDisk: [osDisk, dataDisk],
  CreateVirtualMachine: web,
};
const there: Answers = {
  GetVault: vault,
  GetKey: { name: 'vaults/kv1/keys/k1', keySizeBits: 2048 },
  GetDiskEncryptionSet: { ...set, keyAccess: [{ keyVersion: version(2), state: 'AVAILABLE' }] },
  GetDisk: [osDisk, dataDisk],
  GetVirtualMachine: web,
  ListKeyVersions: { keyVersions: keyVersions.map((one, n) => ({ ...one, enabled: n === 1 })) },
};
const changes = ({ sent }: ReturnType<typeof testProgram>) =>
  sent.filter(({ method }) => !/^(Get|List)/.test(method)).map(({ method }) => method);

test('estate import creates everything in the order of its dependencies and disables versions last', async () => {
  const program = testProgram(fresh, { files });
  await program.run('estate', 'import', 'estate.yaml');
  assert.deepEqual(changes(program), [
    'CreateVault',
    'CreateKey',
    'RotateKey',
    'CreateDiskEncryptionSet',
    'SetAccessPolicy',
    'CreateDisk',
    'CreateDisk',
    'CreateVirtualMachine',
    'DisableKeyVersion',
  ]);
  const create = program.sent.findIndex(({ method }) => method === 'CreateKey');
  assert.equal(program.deadlines[create], 120_000, 'a key may take longer than other calls');
  const request = (method: string) => program.sent.find((one) => one.method === method)?.request;
  assert.deepEqual(request('CreateVault')?.accessPolicies, [{ principal: ADMINISTRATOR, keyPermissions: ['ALL'] }]);
  assert.equal(request('CreateDiskEncryptionSet')?.keyUrl, 'https://kv1/keys/k1/2');
  assert.deepEqual(request('SetAccessPolicy')?.accessPolicy, {
    principal: identity,
    keyPermissions: ['GET', 'WRAP_KEY', 'UNWRAP_KEY'],
  });
  assert.deepEqual(request('DisableKeyVersion'), { name: version(1) });
  assert.deepEqual(program.lines, [
    'made vault kv1',
    'made key kv1/k1',
    'made key kv1/k1: version 2',
    'made set des1',
    'made disk os',
    'made disk data',
    'made machine web',
    'made key kv1/k1: version 1 disabled',
  ]);
});

test('the guest of a machine is imported and compared', async () => {
  const qemu = { 'estate.yaml': file.replace('osDisk: os}', 'osDisk: os, guest: qemu}') };
  const fromFile = testProgram(fresh, { files: qemu });
  await fromFile.run('estate', 'import', 'estate.yaml');
  const request = fromFile.sent.find(({ method }) => method === 'CreateVirtualMachine')?.request;
  assert.equal(request?.guest, 'QEMU');
  const same = testProgram({ ...there, GetVirtualMachine: { ...web, guest: 'QEMU' } }, { files: qemu });
  await same.run('estate', 'import', 'estate.yaml');
  const other = testProgram(there, { files: qemu });
  await assert.rejects(other.run('estate', 'import', 'estate.yaml'), /machine web.*guest.*process.*qemu/s);
});

test('an imported machine writes to disks of the import, and to existing ones only with --write-and-verify', async () => {
  const workloadOf = async (answers: Answers, ...flags: readonly string[]) => {
    const program = testProgram(answers, { files });
    await program.run('estate', 'import', 'estate.yaml', ...flags);
    const request = program.sent.find(({ method }) => method === 'CreateVirtualMachine')?.request;
    return { kind: Object(request?.workload).kind, asides: program.asides.join('\n') };
  };
  assert.equal((await workloadOf(fresh)).kind, 'WRITE_AND_VERIFY');
  assert.equal((await workloadOf(fresh, '--idle')).kind, 'IDLE');
  const old = {
    ...there,
    GetDisk: [osDisk, gone],
    GetVirtualMachine: gone,
    CreateDisk: dataDisk,
    CreateVirtualMachine: web,
  };
  const found = await workloadOf(old);
  assert.equal(found.kind, 'IDLE');
  assert.match(found.asides, /machine web is idle: its disk os existed already; --write-and-verify writes over it/);
  assert.equal((await workloadOf(old, '--write-and-verify')).kind, 'WRITE_AND_VERIFY');
  await assert.rejects(workloadOf(fresh, '--idle', '--write-and-verify'), /exclude each other/);
});

test('a repeated import changes nothing', async () => {
  const program = testProgram(there, { files });
  await program.run('estate', 'import', 'estate.yaml');
  assert.deepEqual(changes(program), []);
  assert.match(program.asides.join('\n'), /nothing to do: 6 resources of estate\.yaml are in g/);
});

test('an interrupted import continues with what is missing', async () => {
  const half = {
    ...there,
    GetDisk: [osDisk, gone],
    GetVirtualMachine: gone,
    CreateDisk: dataDisk,
    CreateVirtualMachine: web,
  };
  const program = testProgram(half, { files });
  await program.run('estate', 'import', 'estate.yaml');
  assert.deepEqual(changes(program), ['CreateDisk', 'CreateVirtualMachine']);
});

test('an existing resource with other properties is refused before anything is made', async () => {
  const other = {
    ...there,
    GetVault: { ...vault, resourceGroup: `${group}2` },
    GetDisk: [{ ...osDisk, sku: 'STANDARD_HDD', sizeGib: '8' }, gone],
  };
  const program = testProgram(other, { files });
  await assert.rejects(
    program.run('estate', 'import', 'estate.yaml'),
    (error) => error instanceof UsageError && /3 problems/.test(error.message),
  );
  assert.deepEqual(changes(program), []);
  const shown = program.asides.join('\n');
  assert.match(
    shown,
    /vault kv1 exists with resource group .*g2, the file says .*g: choose other names of vaults with --vault-suffix/,
  );
  assert.match(shown, /disk os exists with class STANDARD_HDD, the file says PREMIUM_SSD/);
  assert.match(shown, /disk os exists with GiB 8, the file says 1/);
});

test('--vault-suffix renames the vaults of a copy', async () => {
  const program = testProgram(fresh, { files });
  await assert.rejects(
    program.run('estate', 'import', 'estate.yaml', '--vault-suffix', 'much-too-long-for-a-vault'),
    /--vault-suffix makes/,
  );
  await program.run('estate', 'import', 'estate.yaml', '--vault-suffix', 'copy');
  assert.equal(program.sent.find(({ method }) => method === 'CreateVault')?.request.vaultId, 'kv1-copy');
});

test('estate export writes a file that estate import reads', async () => {
  const program = testProgram({
    ListVirtualMachines: { virtualMachines: [{ ...web, powerState: 'STOPPED', stopCause: 'KEY_LOST' }] },
    ListDisks: { disks: [osDisk, { ...dataDisk, keyVersion: version(1) }] },
    ListSnapshots: { snapshots: [{ name: `${group}/snapshots/s` }] },
    ListDiskEncryptionSets: { diskEncryptionSets: [set] },
    ListVaults: { vaults: [vault] },
    GetVault: vault,
    ListKeys: { keys: [{ name: 'vaults/kv1/keys/k1', keySizeBits: 2048 }] },
    ListKeyVersions: { keyVersions: keyVersions.map((one, n) => ({ ...one, enabled: n === 1 })) },
  });
  await program.run('estate', 'export');
  const read = readEstate(program.lines.join('\n'));
  assert.ok('estate' in read, JSON.stringify(read));
  assert.deepEqual(read, readEstate(file));
  const remarks = program.asides.join('\n');
  assert.match(remarks, /^not exported: 1 snapshots/m);
  assert.match(remarks, /^changed: disk data is under an older key version than its set/m);
  assert.match(remarks, /^changed: set des1 has lost its key \(ACCESS_DENIED\)/m);
});

test('impact --estate works offline and prints the text of the online impact', async () => {
  const program = testProgram({}, { files });
  await program.run('impact', '--estate', 'estate.yaml', '--key', 'kv1/k1');
  await program.run('impact', 'kv1/k1', '--estate', 'estate.yaml', '--action', 'purge');
  assert.deepEqual(program.sent, []);
  const shown = program.lines.join('\n');
  assert.match(shown, /^vm web +STOPS +RUNNING\n {2}disk os +UNAVAILABLE/m);
  assert.match(
    shown,
    /^if every version of kv1\/k1 were disabled \(--action names another case\): 1 machine would stop, 2 disks/m,
  );
  assert.match(shown, /^if kv1\/k1 were purged: .*2 disks and snapshots unreadable for good/m);
});

test('impact --estate refuses an unknown key, a missing key and a wrong file', async () => {
  const run = (...args: string[]) =>
    testProgram({}, { files: { ...files, 'wrong.yaml': 'location: x\n' } }).run('impact', ...args);
  await assert.rejects(
    run('--estate', 'estate.yaml', '--key', 'kv1/k2'),
    /no key or vault "kv1\/k2": did you mean kv1\/k1\?/,
  );
  await assert.rejects(run('--estate', 'estate.yaml'), /missing --key <vault\/key>: estate.yaml has kv1\/k1/);
  await assert.rejects(run('--estate', 'wrong.yaml', '--key', 'kv1/k1'), UsageError);
  await assert.rejects(
    run('--estate', 'estate.yaml', '--key', 'kv1/k1', '--action', 'explode'),
    /--action must be one of/,
  );
});

test('estate from-azure writes the twin and lists what is not mapped', async () => {
  const id = (type: string, name: string) =>
    `/subscriptions/s/resourceGroups/rg/providers/Microsoft.Compute/${type}/${name}`;
  const vms = [
    {
      id: id('virtualMachines', 'web'),
      name: 'web',
      location: 'westeurope',
      securityProfile: { encryptionAtHost: true },
      storageProfile: { osDisk: { name: 'os', managedDisk: { id: id('disks', 'os') } } },
    },
  ];
  const disks = [
    { id: id('disks', 'os'), name: 'os', location: 'westeurope', sku: { name: 'Premium_LRS' }, diskSizeGB: 2048 },
    { id: id('disks', 'odd'), name: 'odd', location: 'westeurope', sku: { name: 'Odd_LRS' }, diskSizeGB: 1 },
  ];
  const program = testProgram({}, { files: { 'vms.json': JSON.stringify(vms), 'disks.json': JSON.stringify(disks) } });
  await program.run('estate', 'from-azure', 'vms.json', 'disks.json', '--scale', '512', '--output', 'twin.yaml');
  const written = Buffer.from(program.written.get('twin.yaml') ?? '').toString('utf8');
  assert.match(written, /^# not mapped: disk odd \(group rg\): its SKU Odd_LRS has no counterpart$/m);
  assert.match(written, /\{name: os, class: premium-ssd, gib: 4\}/);
  assert.match(
    program.asides.join('\n'),
    /1 machines, 1 disks, 0 sets, 0 vaults; not mapped: 1, changed: 0, ignored: 1/,
  );
  assert.match(
    program.asides.join('\n'),
    /^ignored: securityProfile.encryptionAtHost of 1 machine \(web\): a twin has no host caches/m,
  );
  await assert.rejects(
    program.run('estate', 'from-azure', 'vms.json', '--scale', '0'),
    /--scale must be a number from 1/,
  );
  const bad = testProgram({}, { files: { 'bad.json': '[\n{"a": }]' } });
  await assert.rejects(bad.run('estate', 'from-azure', 'bad.json'), /bad\.json:2: the JSON is not valid/);
});

test('estate from-azure writes the twin, and fails with the names of the machines that are not in it', async () => {
  const id = (type: string, name: string) =>
    `/subscriptions/s/resourceGroups/rg/providers/Microsoft.Compute/${type}/${name}`;
  const vms = ['web', 'odd'].map((name) => ({
    ...{ id: id('virtualMachines', name), name, location: 'westeurope' },
    storageProfile: { osDisk: { name: `${name}-os`, managedDisk: { id: id('disks', `${name}-os`) } } },
  }));
  const disks = [
    { id: id('disks', 'web-os'), name: 'web-os', location: 'westeurope', sku: { name: 'Premium_LRS' }, diskSizeGB: 1 },
  ];
  const program = testProgram({}, { files: { 'vms.json': JSON.stringify(vms), 'disks.json': JSON.stringify(disks) } });
  const made = program.run('estate', 'from-azure', 'vms.json', 'disks.json', '--output', 'twin.yaml');
  await assert.rejects(made, { exitCode: 1, message: '1 machine is not in the twin: odd (group rg)' });
  assert.match(Buffer.from(program.written.get('twin.yaml') ?? '').toString('utf8'), /name: web,/);
});
