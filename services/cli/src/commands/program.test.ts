import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { RpcFailure } from '@interlock/rpc';
import { CommanderError } from 'commander';
import { failureOf } from '../failure.ts';
import { NotSettled, OutputProblem, UsageError } from '../problems.ts';
import { ADMINISTRATOR, testProgram } from '../session/test-session.ts';

const group = 'subscriptions/local/resourceGroups/g';
const version = 'vaults/kv1/keys/k1/versions/0123456789abcdef0123456789abcdef';
const uuid = '00000000-0000-4000-8000-0000000000ff';

const requestOf = async (...args: readonly string[]) => {
  const { run, sent } = testProgram();
  await run(...args);
  return sent.at(-1)?.request;
};

test('vm list -o wide shows reads, writes, failures and mismatches of guests, and other formats do not read them', async () => {
  const guestIo = { readCount: '40', writeCount: '30', flushCount: '2', failureCount: '1', contentMismatchCount: '0' };
  const virtualMachines = [{ name: `${group}/virtualMachines/vm1`, powerState: 'RUNNING', guestIo }];
  const { run, sent, lines } = testProgram({ ListVirtualMachines: { virtualMachines } });
  await run('vm', 'list', '-o', 'wide');
  assert.equal(sent.at(-1)?.request.view, 'FULL');
  assert.match(lines.join('\n'), /READS +WRITES +FAILED +MISMATCHES\n.* 40 +30 +1 +0$/);
  await run('vm', 'list', '-o', 'wide', '--view', 'basic');
  assert.equal(sent.at(-1)?.request.view, 'BASIC');
  await run('vm', 'list');
  assert.equal(sent.at(-1)?.request.view, undefined);
});

test('names and flags become the request', async () => {
  assert.deepEqual(
    await requestOf('vault', 'create', 'kv1', '--location', 'westeurope', '--purge-protection-enabled'),
    {
      vaultId: 'kv1',
      location: 'westeurope',
      purgeProtectionEnabled: true,
      resourceGroup: group,
    },
  );
  assert.deepEqual(
    await requestOf('key', 'create', 'kv1/k1', '--size', '3072', '--no-enabled', '--tags', 'a=1', '--tags', 'b=2=3'),
    {
      parent: 'vaults/kv1',
      keyId: 'k1',
      keySizeBits: 3072,
      attributes: { enabled: false },
      tags: { a: '1', b: '2=3' },
      requestId: uuid,
    },
  );
  assert.deepEqual(
    await requestOf(
      'vault',
      'grant',
      'kv1',
      '--principal',
      'me',
      '--permissions',
      'get,wrap-key',
      '--permissions',
      'list',
      '--replace',
    ),
    {
      name: 'vaults/kv1',
      accessPolicy: { principal: ADMINISTRATOR, keyPermissions: ['GET', 'WRAP_KEY', 'LIST'] },
    },
  );
  const disk = ['disk', 'create', 'other/d1', '--location', 'westeurope'];
  assert.deepEqual(await requestOf(...disk, '--sku', 'ultra', '--size', '4', '--set', 'des1'), {
    parent: 'subscriptions/local/resourceGroups/other',
    diskId: 'd1',
    location: 'westeurope',
    sku: 'ULTRA',
    sizeGib: '4',
    encryption: {
      type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY',
      diskEncryptionSet: `${group}/diskEncryptionSets/des1`,
    },
  });
  assert.deepEqual(await requestOf('key', 'import', 'kv1/k1', '--pem-file', 'k.pem'), {
    parent: 'vaults/kv1',
    keyId: 'k1',
    pem: 'content of k.pem',
    requestId: uuid,
  });
});

test('vm start starts several machines with one call, waits for them, and reports each refusal', async () => {
  const vmOf = (id: string, powerState: string) => ({ name: `${group}/virtualMachines/${id}`, powerState });
  const refused = { code: 5, reason: 'VIRTUAL_MACHINE_NOT_FOUND', message: 'no such machine', metadata: {} };
  const outcomes = [{ starting: vmOf('vm1', 'STARTING') }, { refused }, { starting: vmOf('vm3', 'STARTING') }];
  const answers = {
    StartVirtualMachines: { outcomes },
    GetVirtualMachine: [
      vmOf('vm1', 'RUNNING'),
      { ...vmOf('vm3', 'STOPPED'), provisioningState: 'FAILED', failure: { code: 'KEY_DISABLED', message: 'no key' } },
    ],
  };
  const { run, sent, lines, asides } = testProgram(answers);
  await assert.rejects(
    run('vm', 'start', 'vm1', 'vm2', 'other/vm3', '--wait'),
    ({ reason, message }: NotSettled) => reason === 'VIRTUAL_MACHINE_NOT_FOUND' && message.startsWith('2 of 3: vm2'),
  );
  assert.deepEqual(sent[0]?.request, {
    names: [
      `${group}/virtualMachines/vm1`,
      `${group}/virtualMachines/vm2`,
      'subscriptions/local/resourceGroups/other/virtualMachines/vm3',
    ],
  });
  assert.deepEqual(sent.map(({ method }) => method).slice(0, 1), ['StartVirtualMachines']);
  assert.match(lines.join('\n'), /vm1 +RUNNING/);
  assert.match(asides.join('\n'), /^vm2: VIRTUAL_MACHINE_NOT_FOUND: no such machine$/m);
  assert.match(asides.join('\n'), /vm3: KEY_DISABLED: /);
});

test('a single failure of several machines is reported only in the final error; many are listed, five by name', async () => {
  const vmOf = (id: string, powerState: string) => ({ name: `${group}/virtualMachines/${id}`, powerState });
  const refused = { code: 5, reason: 'VIRTUAL_MACHINE_NOT_FOUND', message: 'no such machine', metadata: {} };
  const answers = { StartVirtualMachines: { outcomes: [{ starting: vmOf('vm1', 'STARTING') }, { refused }] } };
  const { run, asides } = testProgram(answers, { trace: 'a'.repeat(32) });
  await assert.rejects(run('vm', 'start', 'vm1', 'vm2'), { message: '1 of 2: vm2: no such machine' });
  assert.deepEqual(asides, []);
  const all = testProgram(
    { StartVirtualMachines: { outcomes: Array.from({ length: 7 }, () => ({ refused })) } },
    { trace: 'a'.repeat(32) },
  );
  const error: unknown = await all
    .run('vm', 'start', 'a', 'b', 'c', 'd', 'e', 'f', 'g')
    .catch((thrown: unknown) => thrown);
  const { message } = failureOf(error, undefined, { subscription: 'subscriptions/local', group: 'g' });
  assert.equal(message, '7 of 7: a, b, c, d, e … (2 more)');
  assert.equal(all.asides.filter((line) => line.includes('no such machine')).length, 7);
});

test('an invalid name among several machines is refused before any machine is started', async () => {
  for (const wrong of ['-x', '', 'a/b/c/d', 'vm 1']) {
    const { run, sent } = testProgram();
    await assert.rejects(run('vm', 'start', 'vm1', '--', wrong), UsageError, wrong);
    assert.deepEqual(sent, [], wrong);
  }
});

test('the help for several failed starts is that of the first one', async () => {
  const vmOf = (id: string, powerState: string) => ({ name: `${group}/virtualMachines/${id}`, powerState });
  const accessLoss = {
    keyVersion: 'vaults/kv1/keys/k1/versions/0',
    diskEncryptionSet: `${group}/diskEncryptionSets/des1`,
  };
  const failure = { code: 'KEY_DISABLED', message: 'no key', accessLoss };
  const { run } = testProgram({
    StartVirtualMachines: { outcomes: [{ starting: vmOf('vm1', 'STARTING') }, { starting: vmOf('vm2', 'STARTING') }] },
    GetVirtualMachine: { ...vmOf('vm1', 'STOPPED'), provisioningState: 'FAILED', failure },
  });
  const error: unknown = await run('vm', 'start', 'vm1', 'vm2', '--wait').catch((thrown: unknown) => thrown);
  const { help = '' } = failureOf(error, undefined, { subscription: 'subscriptions/local', group: 'g' });
  assert.match(help, /interlock key enable kv1\/k1 \(or kv1\/k1\/0 if .* set assign-key des1 /);
});

test('vm start --stopped-by-key starts exactly the machines that a lost key has stopped, from all pages', async () => {
  const vmOf = (n: number, powerState: string, stopCause = 'STOP_CAUSE_UNSPECIFIED') => ({
    name: `${group}/virtualMachines/vm${n}`,
    powerState,
    stopCause,
  });
  const failed = (operation: string, accessLoss?: { keyVersion: string }) => ({
    failure: { operation, code: 'KEY_DISABLED', ...(accessLoss === undefined ? {} : { accessLoss }) },
  });
  const loss = { keyVersion: 'vaults/kv1/keys/k1/versions/0' };
  const lost = [
    ...Array.from({ length: 298 }, (_, n) => vmOf(n, 'STOPPED', 'KEY_LOST')),
    { ...vmOf(298, 'STOPPED'), ...failed('restart', loss) },
    { ...vmOf(299, 'STOPPED'), ...failed('start', loss) },
  ];
  const others = [
    { ...vmOf(1_000, 'STOPPED'), stopReason: loss, keyReturned: true },
    vmOf(1_001, 'RUNNING'),
    vmOf(1_002, 'STOPPING', 'KEY_LOST'),
    { ...vmOf(1_003, 'STOPPED'), ...failed('restart') },
    { ...vmOf(1_004, 'STOPPED'), ...failed('attach', loss) },
    { ...vmOf(1_005, 'DEALLOCATED', 'KEY_LOST'), ...failed('start', loss) },
  ];
  const starting = lost.map(({ name }) => ({ starting: { name, powerState: 'STARTING' } }));
  const { run, sent, asides } = testProgram({
    ListVirtualMachines: [
      { virtualMachines: [...others, ...lost.slice(0, 100)], nextPageToken: 'more' },
      { virtualMachines: lost.slice(100, 200), nextPageToken: 'still more' },
      { virtualMachines: lost.slice(200) },
      { virtualMachines: others },
    ],
    StartVirtualMachines: [{ outcomes: starting.slice(0, 256) }, { outcomes: starting.slice(256) }],
  });
  await run('vm', 'start', '--stopped-by-key');
  const asked = sent.filter(({ method }) => method === 'StartVirtualMachines').map(({ request }) => request.names);
  assert.deepEqual(
    asked.flat(),
    lost.map(({ name }) => name),
  );
  assert.equal(asked.length, 2, '256 a call at most');
  assert.equal(sent[0]?.request.parent, group);
  await run('vm', 'start', '--stopped-by-key');
  assert.match(asides.at(-1) ?? '', /^--stopped-by-key: nothing to do in local\/g$/);
  const none = testProgram({ ListVirtualMachines: { virtualMachines: others } });
  await none.run('vm', 'start', '--stopped-by-key', '--json');
  assert.deepEqual(
    [JSON.parse(none.lines.join()), none.asides],
    [{ done: [], refused: [] }, []],
    'a document all the same',
  );
  await assert.rejects(run('vm', 'start', 'vm1', '--stopped-by-key'), UsageError);
});

test('if a later call for several machines gets no response, the results of the earlier ones are shown', async () => {
  const names = Array.from({ length: 600 }, (_, n) => `vm${n}`);
  const vmOf = (id: string, powerState: string) => ({ name: `${group}/virtualMachines/${id}`, powerState });
  const silent = new RpcFailure('UNAVAILABLE', 'StartVirtualMachines', 'compute', 'no connection');
  const outcomes = names.slice(0, 256).map((id) => ({ starting: vmOf(id, 'STARTING') }));
  const { run, sent, lines, asides } = testProgram({ StartVirtualMachines: [{ outcomes }, silent] });
  await assert.rejects(run('vm', 'start', ...names), ({ reason, message }: NotSettled) => {
    return reason === 'NO_ANSWER' && message.startsWith('344 of 600: vm256');
  });
  assert.equal(sent.length, 2, 'a service that does not respond is not called again');
  assert.equal((lines.join('\n').match(/STARTING/g) ?? []).length, 256);
  assert.match(asides.join('\n'), /^vm511: NO_ANSWER: .*no connection$/m);
  assert.match(asides.join('\n'), /^vm512: NOT_CALLED: /m);
  await assert.rejects(testProgram({ StartVirtualMachines: silent }).run('vm', 'start', 'vm1', 'vm2'), silent);
});

test('--wait prints each state with its machine; for a single machine only the state', async () => {
  const vmOf = (id: string, powerState: string) => ({ name: `${group}/virtualMachines/${id}`, powerState });
  const { run, asides } = testProgram({
    StartVirtualMachine: vmOf('vm1', 'STARTING'),
    StartVirtualMachines: { outcomes: ['vm1', 'vm2'].map((id) => ({ starting: vmOf(id, 'STARTING') })) },
    GetVirtualMachine: [vmOf('vm1', 'RUNNING'), vmOf('vm2', 'RUNNING'), vmOf('vm1', 'RUNNING')],
  });
  const told = () => asides.splice(0).filter((line) => line.startsWith('… '));
  await run('vm', 'start', 'vm1', 'vm2', '--wait');
  assert.deepEqual(told().toSorted(), ['… vm1: RUNNING', '… vm1: STARTING', '… vm2: RUNNING', '… vm2: STARTING']);
  await run('vm', 'start', 'vm1', '--wait');
  assert.deepEqual(told(), ['… STARTING', '… RUNNING']);
});

test('--wait for many machines reads at most 16 at once', async () => {
  const names = Array.from({ length: 256 }, (_, n) => `vm${n}`);
  const vmOf = (id: string, powerState: string) => ({ name: `${group}/virtualMachines/${id}`, powerState });
  const { run, sent, mostAtOnce } = testProgram({
    StartVirtualMachines: { outcomes: names.map((id) => ({ starting: vmOf(id, 'STARTING') })) },
    GetVirtualMachine: vmOf('vm0', 'RUNNING'),
  });
  await run('vm', 'start', ...names, '--wait');
  assert.equal(sent.filter(({ method }) => method === 'GetVirtualMachine').length, names.length, 'each is looked at');
  assert.equal(mostAtOnce(), 16);
});

test('a machine whose state cannot be read does not hide the results of the others', async () => {
  const vmOf = (id: string, powerState: string) => ({ name: `${group}/virtualMachines/${id}`, powerState });
  const silent = new RpcFailure('DEADLINE_EXCEEDED', 'GetVirtualMachine', 'compute', 'no connection');
  const { run, lines } = testProgram({
    StartVirtualMachines: { outcomes: ['vm1', 'vm2'].map((id) => ({ starting: vmOf(id, 'STARTING') })) },
    GetVirtualMachine: [silent, vmOf('vm2', 'RUNNING')],
  });
  await assert.rejects(run('vm', 'start', 'vm1', 'vm2', '--wait'), {
    reason: 'NO_ANSWER',
    message: /^1 of 2: vm1: GetVirtualMachine at compute: /,
  });
  assert.match(lines.join('\n'), /vm2 +RUNNING/);
});

test('--etag is refused for several machines; a single machine is started with StartVirtualMachine', async () => {
  const { run, sent } = testProgram();
  await assert.rejects(run('vm', 'start', 'vm1', 'vm2', '--etag', '4'), UsageError);
  await assert.rejects(run('vm', 'start', 'vm1', 'a/b/c/d'), UsageError);
  assert.equal(sent.length, 0);
  await run('vm', 'start', 'vm1', '--etag', '4');
  assert.equal(sent[0]?.method, 'StartVirtualMachine');
});

test("a confirmed deletion of a set's identity sends its name as confirmation", async () => {
  const principal = 'principals/0198a2b4-6c1d-4e3f-8a5b-2c7d9e0f1a3b';
  const set = { name: `${group}/diskEncryptionSets/des1`, identity: { principal, type: 'SYSTEM_ASSIGNED' } };
  for (const text of ['set:des1', principal]) {
    const { run, sent } = testProgram({ GetDiskEncryptionSet: set });
    await run('principal', 'delete', text, '--confirm');
    assert.equal(sent.at(-1)?.method, 'DeletePrincipal');
    assert.deepEqual(sent.at(-1)?.request, { name: principal, confirmName: principal });
  }
});

test("CMK-27: a confirmed change of the permission model sends the vault's name as confirmation", async () => {
  assert.deepEqual(await requestOf('vault', 'set-permission-model', 'kv1', 'role-assignment', '--confirm'), {
    name: 'vaults/kv1',
    permissionModel: 'ROLE_ASSIGNMENT',
    confirmName: 'vaults/kv1',
  });
});

test('a confirmed deletion sends the name of the key or vault as confirmation', async () => {
  for (const target of ['kv1/k1', 'vaults/kv1/keys/k1']) {
    const request = await requestOf('key', 'delete', target, '--confirm');
    assert.deepEqual(request, { name: 'vaults/kv1/keys/k1', confirmName: 'vaults/kv1/keys/k1' });
  }
  assert.equal((await requestOf('vault', 'purge', 'vaults/kv1', '--confirm'))?.confirmName, 'vaults/kv1');
  assert.equal((await requestOf('key', 'delete', 'kv1/k1'))?.confirmName, undefined);
});

test('global flags count before and after the verb', async () => {
  for (const args of [
    ['--group', 'h', 'vm', 'start', 'vm1'],
    ['vm', 'start', 'vm1', '--group', 'h'],
  ]) {
    assert.deepEqual(await requestOf(...args), { name: 'subscriptions/local/resourceGroups/h/virtualMachines/vm1' });
  }
});

test('a suggested command works without the global flags of the current command', async () => {
  const stopped = { powerState: 'STOPPED', stopCause: 'HOST_RESTARTED' };
  const start = async (name: string, ...flags: readonly string[]) => {
    const { run, lines } = testProgram({ GetVirtualMachine: { name, ...stopped } });
    await run('vm', 'show', 'vm1', ...flags);
    return lines.at(-1);
  };
  const of = (path: string) => `the cause of the stop is over: interlock vm start ${path}`;
  assert.equal(await start(`${group}/virtualMachines/vm1`), of('vm1'));
  assert.equal(await start('subscriptions/local/resourceGroups/h/virtualMachines/vm1', '--group', 'h'), of('h/vm1'));
  const other = 'subscriptions/s2/resourceGroups/g/virtualMachines/vm1';
  assert.equal(await start(other, '--subscription', 'subscriptions/s2'), of('s2/g/vm1'));
});

test('role assignments shows a scope as --scope accepts it', async () => {
  const scopes = ['/', 'tenants/local', 'subscriptions/local', group, `${group}/diskEncryptionSets/des1`];
  const { run, lines, sent } = testProgram({
    ListRoleAssignments: { roleAssignments: scopes.map((scope, n) => ({ name: `roleAssignments/${n}`, scope })) },
  });
  await run('role', 'assignments');
  const shown = lines
    .join('\n')
    .split('\n')
    .slice(1)
    .map((line) => line.split(/ +/).at(-1) ?? '');
  assert.deepEqual(shown, scopes);
  for (const scope of shown) await run('role', 'assignments', '--scope', scope);
  assert.deepEqual(
    sent.slice(1).map(({ request }) => request.scope),
    scopes,
  );
});

test('flags override the fields of a body', async () => {
  assert.deepEqual(
    await requestOf(
      'vault',
      'create',
      'kv1',
      '--body',
      '{"location":"a","soft_delete_retention_days":7}',
      '--location',
      'b',
    ),
    {
      vaultId: 'kv1',
      location: 'b',
      soft_delete_retention_days: 7,
      resourceGroup: group,
    },
  );
});

test('a key is disabled and enabled as a whole, a version by its name', async () => {
  const { run, sent } = testProgram();
  await run('key', 'disable', 'kv1/k1');
  await run('key', 'enable', 'kv1/k1');
  await run('key', 'disable', version);
  await run('key', 'enable', version);
  assert.deepEqual(
    sent.filter(({ method }) => method !== 'PreviewImpact').map(({ method, request }) => [method, request]),
    [
      ['DisableKey', { name: 'vaults/kv1/keys/k1' }],
      ['EnableKey', { name: 'vaults/kv1/keys/k1' }],
      ['DisableKeyVersion', { name: version }],
      ['EnableKeyVersion', { name: version }],
    ],
  );
});

test('a command for one key version needs its name if the key has several', async () => {
  const one = testProgram({ ListKeyVersions: { keyVersions: [{ name: version }] } });
  await one.run('key', 'set-dates', 'kv1/k1', '--expire-time', '+90d');
  assert.equal(one.sent.at(-1)?.request.name, version);
  const two = testProgram({ ListKeyVersions: { keyVersions: [{ name: version }, { name: `${version}0` }] } });
  await assert.rejects(two.run('key', 'set-dates', 'kv1/k1', '--expire-time', '+90d'), /kv1\/k1 has several versions/);
  assert.deepEqual(
    two.sent.map(({ method }) => method),
    ['ListKeyVersions'],
  );
});

test('a preview states the supposed change, its effects, and whether they already apply', async () => {
  const [stops, fails, loses] = ['VIRTUAL_MACHINE_STOPS', 'VIRTUAL_MACHINE_FAILS_AT_NEXT_START', 'SET_LOSES_KEY'];
  const { run, lines } = testProgram({
    PreviewImpact: [
      { impacts: [] },
      {
        impacts: [
          { kind: loses, resource: 's' },
          { kind: stops, resource: 'a' },
          { kind: stops, resource: 'b' },
          { kind: fails, resource: 'b' },
          { kind: fails, resource: 'c' },
          { kind: 'DISK_UNREADABLE', resource: 'd' },
        ],
      },
      { impacts: [{ kind: loses, resource: 's', already: true }] },
      {
        impacts: [
          { kind: stops, resource: 'a', startsAgain: true },
          { kind: stops, resource: 'b' },
        ],
      },
    ],
  });
  await run('impact', 'kv1/k1');
  assert.equal(
    lines.at(-1),
    'if every version of kv1/k1 were disabled (--action names another case): nothing depends on it',
  );
  await run('impact', 'kv1', '--action', 'purge');
  assert.equal(
    lines.at(-1),
    'if kv1 were purged: 2 machines would stop, ' +
      '1 machine would fail at its next start, ' +
      '1 disk or snapshot unreadable for good without a backup of the key' +
      '; data wrapped outside of disk encryption sets is not counted',
  );
  await run('impact', version, '--action', 'disable');
  assert.match(
    lines.at(-1) ?? '',
    /^if kv1\/k1\/0123456789abcdef0123456789abcdef were disabled: .*; all of this is so already$/,
  );
  await run('impact', 'kv1', '--action', 'delete');
  assert.match(
    lines.at(-1) ?? '',
    /^if kv1 were deleted: 2 machines would stop \(1 would restart when the key is back\); /,
  );
});

test('a key is resolved to its current version, and a set to its identity', async () => {
  const { run, sent } = testProgram({
    GetKeyVersion: { name: version, keyUrl: 'https://kv1/keys/k1/0' },
    GetDiskEncryptionSet: { identity: { principal: 'principals/00000000-0000-4000-8000-000000000002' } },
  });
  await run('key', 'set-tags', 'kv1/k1', '--tags', 'a=b');
  assert.deepEqual(
    sent.map(({ method, request }) => [method, request]),
    [
      ['GetKeyVersion', { name: 'vaults/kv1/keys/k1' }],
      ['SetKeyTags', { name: version, tags: { a: 'b' } }],
    ],
  );
  await run('set', 'create', 'des1', '--location', 'westeurope', '--key', 'kv1/k1');
  assert.equal(sent.at(-1)?.request.keyUrl, 'https://kv1/keys/k1/0');
  await run('vault', 'revoke', 'kv1', 'set:des1');
  assert.equal(sent.at(-1)?.request.principal, 'principals/00000000-0000-4000-8000-000000000002');
});

test('--as-key-owner sends a token of the caller for key-vault', async () => {
  const { run, sent } = testProgram({ GetKeyVersion: { keyUrl: 'https://kv1/keys/k1/0' } });
  await run('set', 'assign-key', 'des1', '--key', 'kv1/k1', '--as-key-owner');
  assert.equal(sent.at(-1)?.request.keyOwnerToken, `token of ${ADMINISTRATOR} for key-vault`);
  await assert.rejects(
    run('set', 'resume-rotation', 'des1', '--as-key-owner', '--key-owner-token-file', 'f'),
    UsageError,
  );
});

test('an error for a typing error suggests the right word', async () => {
  const { run } = testProgram();
  await assert.rejects(run('key', 'disbale', 'kv1/k1'), /Did you mean disable\?/);
  await assert.rejects(run('vm', 'create', 'vm1', '--locatoin', 'x'), /Did you mean --location\?/);
});

test('lists read all pages unless --page-size is given', async () => {
  const pages = [
    { vaults: [{ name: 'vaults/a' }], nextPageToken: 'more' },
    { vaults: [{ name: 'vaults/b' }], nextPageToken: 'still more' },
    { vaults: [{ name: 'vaults/c' }], nextPageToken: '' },
  ];
  const all = testProgram({ ListVaults: pages });
  await all.run('vault', 'list', '--json');
  assert.deepEqual(JSON.parse(all.lines.join('')), {
    vaults: [{ name: 'vaults/a' }, { name: 'vaults/b' }, { name: 'vaults/c' }],
    nextPageToken: '',
  });
  assert.deepEqual(
    all.sent.map(({ request }) => request.pageToken),
    [undefined, 'more', 'still more'],
  );
  const one = testProgram({ ListVaults: pages });
  await one.run('vault', 'list', '--page-size', '1');
  assert.equal(one.sent.length, 1);
  assert.match(one.asides.join(), /^there are more: --page-token more/);
  const large = testProgram({ ListVaults: pages });
  await large.run('vault', 'list', '--page-size', '5000');
  assert.match(large.asides.join(), /^there are more \(a page has at most 1000\): --page-token more/);
});

test('G10: disks and snapshots whose key is lost are listed with the reason, and since when', async () => {
  const unavailableSince = '2026-01-02T03:04:05Z';
  const lost = { availability: 'UNAVAILABLE', unavailableReason: 'KEY_DISABLED', unavailableSince };
  const { run, lines } = testProgram({
    ListDisks: { disks: [{ name: 'subscriptions/local/resourceGroups/g/disks/d1', ...lost }] },
    ListSnapshots: { snapshots: [{ name: 'subscriptions/local/resourceGroups/g/snapshots/s1', ...lost }] },
  });
  for (const noun of ['disk', 'snapshot']) {
    lines.length = 0;
    await run(noun, 'list');
    assert.match(
      lines.join('\n'),
      /^NAME +AVAILABILITY +REASON +SINCE\n\S+ +UNAVAILABLE +KEY_DISABLED +2026-01-02/,
      noun,
    );
  }
});

test('a command without a service calls every service, and a failure does not hide the others', async () => {
  const { run, sent, lines } = testProgram({ ListConsumers: { consumers: [] } });
  await run('consumers');
  assert.deepEqual(
    sent.map(({ service }) => service),
    ['identity', 'key-vault', 'disk-encryption-set', 'disk', 'compute'],
  );
  await run('consumers', 'list', 'disk');
  assert.equal(sent.length, 6);
  assert.match(lines.join('\n'), /compute\nnone/);
  const down = new Rejection('UNAVAILABLE', 'STORE_UNAVAILABLE', 'later');
  const partly = testProgram({ ListParkedFacts: [{ parkedFacts: [] }, down, { parkedFacts: [] }] });
  await assert.rejects(partly.run('parked', 'list', '--json'), down);
  assert.deepEqual(Object.keys(JSON.parse(partly.lines.join(''))), [
    'identity',
    'disk-encryption-set',
    'disk',
    'compute',
  ]);
});

test('--wait reads the machine until it runs, or fails with the reason of its failure', async () => {
  const name = `${group}/virtualMachines/vm1`;
  const starting = { name, provisioningState: 'UPDATING', powerState: 'STARTING' };
  const good = testProgram({
    StartVirtualMachine: starting,
    GetVirtualMachine: [starting, { name, provisioningState: 'SUCCEEDED', powerState: 'RUNNING' }],
  });
  await good.run('vm', 'start', 'vm1', '--wait', '--json');
  assert.equal(JSON.parse(good.lines.join('')).powerState, 'RUNNING');
  const failure = { operation: 'start', code: 'KEY_DISABLED', message: 'no', accessLoss: { keyVersion: version } };
  const bad = testProgram({
    StartVirtualMachine: starting,
    GetVirtualMachine: { name, provisioningState: 'FAILED', powerState: 'STOPPED', failure },
  });
  await assert.rejects(bad.run('vm', 'start', 'vm1', '--wait'), (error) => {
    assert.ok(error instanceof NotSettled);
    assert.equal(error.reason, 'KEY_DISABLED');
    assert.equal(error.metadata.key_version, version);
    return true;
  });
});

const copying = ['disk', 'create', 'd2', '--location', 'l', '--sku', 'PREMIUM_SSD', '--source-snapshot', 's1'] as const;

test('--wait sets the deadline of the creating call to the whole wait; other calls have the default', async () => {
  const name = `${group}/disks/d2`;
  const creating = { name, provisioningState: 'CREATING' };
  const waiting = testProgram({ GetDisk: creating, CreateDisk: creating });
  await assert.rejects(waiting.run(...copying, '--wait'), /still CREATING after 120000 ms/);
  const called = (method: string, { sent, deadlines }: typeof waiting) =>
    deadlines[sent.findIndex((call) => call.method === method)];
  assert.equal(called('CreateDisk', waiting), 120_000);
  assert.equal(called('GetDisk', waiting), undefined);
  const plain = testProgram({ CreateDisk: creating });
  await plain.run(...copying);
  assert.equal(called('CreateDisk', plain), undefined);
});

test('each read during --wait has a deadline within the time left, at least 1 s', async () => {
  const name = `${group}/virtualMachines/vm1`;
  const starting = { name, provisioningState: 'UPDATING', powerState: 'STARTING' };
  const waiting = testProgram({ StartVirtualMachine: starting, GetVirtualMachine: starting });
  await assert.rejects(
    waiting.run('vm', 'start', 'vm1', '--wait', '--timeout', '10s'),
    /still UPDATING STARTING after 10000 ms/,
  );
  const [, ...looks] = waiting.deadlines;
  assert.ok(looks.length > 10);
  for (const [n, most = 0] of looks.entries())
    assert.ok(most >= 1_000 && most <= Number(looks[n - 1] ?? 9_999), `${looks}`);
  assert.equal(looks.at(-1), 1_000);
});

test("--wait continues after the call's deadline: it reads the disk, then repeats the call for its outcome", async () => {
  const name = `${group}/disks/d2`;
  const late = new RpcFailure('DEADLINE_EXCEEDED', 'CreateDisk', 'disk', 'the deadline passed');
  const absent = new Rejection('NOT_FOUND', 'DISK_NOT_FOUND', '');
  const done = { name, provisioningState: 'SUCCEEDED' };
  const creating = { name, provisioningState: 'CREATING' };
  const good = testProgram({ GetDisk: [creating, done], CreateDisk: [late, done] });
  await good.run(...copying, '--wait');
  const called = good.sent.map(({ method }) => method);
  assert.deepEqual(called, ['CreateDisk', 'GetDisk', 'GetDisk', 'CreateDisk']);
  const lost = new Rejection('FAILED_PRECONDITION', 'KEY_DISABLED', 'no');
  const undone = testProgram({ GetDisk: [creating, absent], CreateDisk: [late, lost] });
  await assert.rejects(undone.run(...copying, '--wait'), { reason: 'KEY_DISABLED' });
});

test('the error for a copy that got no response in time says how to look at it', async () => {
  const late = new RpcFailure('DEADLINE_EXCEEDED', 'CreateDisk', 'disk', 'no answer before the deadline');
  const absent = new Rejection('NOT_FOUND', 'DISK_NOT_FOUND', '');
  const answers = { GetDisk: absent, GetSnapshot: absent, CreateDisk: late, CreateSnapshot: late };
  const shown = async (method: Partial<typeof answers>, ...words: readonly string[]) => {
    const error: unknown = await testProgram({ ...answers, ...method })
      .run(...words)
      .catch((thrown: unknown) => thrown);
    return failureOf(error, undefined, { subscription: 'subscriptions/local', group: 'g' });
  };
  const { code, reason, exitCode, help = '' } = await shown({}, ...copying);
  assert.deepEqual([code, reason, exitCode], ['DEADLINE_EXCEEDED', 'NO_ANSWER', 3]);
  assert.match(help, /^The operation may continue in the cloud\. .*: interlock disk show d2$/);
  assert.match((await shown({}, 'snapshot', 'create', 's1', '--disk', 'd1')).help ?? '', /interlock snapshot show s1$/);
  const gone = new RpcFailure('UNAVAILABLE', 'CreateDisk', 'disk', 'no connection');
  assert.match((await shown({ CreateDisk: gone }, ...copying)).help ?? '', /interlock status$/);
});

test('add-secret writes the secret to the file and not to the screen', async () => {
  const { run, lines, written } = testProgram({
    AddSecret: { secretText: 's3cret', principal: { displayName: 'bob' } },
  });
  await run('principal', 'add-secret', uuid, 'first', '--output', 'bob.secret', '--json');
  assert.equal(Buffer.from(written.get('bob.secret') ?? []).toString(), 's3cret');
  assert.doesNotMatch(lines.join(), /s3cret/);
});

test('the file for a secret or backup is created before the call, and removed if the call fails', async () => {
  const addSecret = ['principal', 'add-secret', uuid, 'first'];
  const backup = ['key', 'backup', 'kv1/k1'];
  const { run, sent, written } = testProgram({
    AddSecret: [new Rejection('NOT_FOUND', 'PRINCIPAL_NOT_FOUND', 'no such principal'), { secretText: 's3cret' }],
    BackupKey: { backup: Buffer.from('all of it').toString('base64') },
  });
  written.set('kept', Buffer.from('the only copy'));
  for (const command of [addSecret, backup]) {
    await assert.rejects(run(...command, '--output', 'kept'), OutputProblem);
    await assert.rejects(run(...command, '--output', ''), UsageError);
  }
  assert.deepEqual(sent, []);
  await assert.rejects(run(...addSecret, '--output', 'bob.secret'), { reason: 'PRINCIPAL_NOT_FOUND' });
  assert.deepEqual([...written.keys()], ['kept']);
  await run(...addSecret, '--output', 'bob.secret');
  await run(...backup, '--output', 'k1.backup');
  assert.deepEqual(
    [...written].map(([path, content]) => [path, Buffer.from(content).toString()]),
    [
      ['kept', 'the only copy'],
      ['bob.secret', 's3cret'],
      ['k1.backup', 'all of it'],
    ],
  );
});

test('vm watch prints a state and its reason', async () => {
  const { run, lines } = testProgram({
    WatchVirtualMachine: { powerState: 'STOPPED', stopReason: { reason: 'KEY_DISABLED' } },
  });
  await run('vm', 'watch', 'vm1');
  assert.match(lines.join(), /STOPPED {2}KEY_DISABLED/);
});

test('vm watch prints a state once, whatever else changes; with --json it prints every change', async () => {
  const stopped = { powerState: 'STOPPED', stopReason: { reason: 'KEY_DISABLED' } };
  const changes = [
    { powerState: 'RUNNING', etag: '1' },
    { ...stopped, etag: '2' },
    { ...stopped, etag: '3' },
    { powerState: 'RUNNING', etag: '4', nextStartLosses: [{ reason: 'KEY_DELETED' }] },
    { powerState: 'RUNNING', etag: '5' },
  ];
  const { run, lines } = testProgram({ WatchVirtualMachine: changes });
  await run('vm', 'watch', 'vm1');
  assert.deepEqual(
    lines.map((line) => line.replace(/^\S+ {2}/, '')),
    ['RUNNING', 'STOPPED  KEY_DISABLED', 'RUNNING  next start fails KEY_DELETED', 'RUNNING'],
  );
  const whole = testProgram({ WatchVirtualMachine: changes });
  await whole.run('vm', 'watch', 'vm1', '--json');
  assert.deepEqual(
    whole.lines.map((line) => JSON.parse(line)),
    changes,
  );
});

test('--help works for the program, a noun and a verb', async () => {
  for (const args of [['--help'], ['vm', '--help'], ['vm', 'create', '--help']]) {
    const { run, lines } = testProgram();
    await assert.rejects(run(...args), (error) => error instanceof CommanderError && error.exitCode === 0);
    assert.match(lines.join(), /Usage: interlock/);
  }
});

test('--request-id sets the id of a request, and help describes it', async () => {
  const id = '00000000-0000-4000-8000-0000000000aa';
  const name = 'vaults/kv1/keys/k1';
  assert.deepEqual(await requestOf('key', 'rotate', 'kv1/k1', '--request-id', id), { name, requestId: id });
  assert.deepEqual(await requestOf('key', 'rotate', 'kv1/k1'), { name, requestId: id.replace('aa', 'ff') });
  const { run, lines } = testProgram();
  await assert.rejects(run('key', 'rotate', '--help'), CommanderError);
  const help = lines.join(' ').replace(/\s+/g, ' ');
  assert.match(help, /--request-id <uuid> UUID .*Ids count per key.* A new one each time unless given\./);
});

test('impact recognizes a vault, key, version or principal by its form, and its verb may be left out', async () => {
  const of = (text: string) => requestOf('impact', text, '--action', 'purge');
  assert.deepEqual(await of('kv1'), { vault: 'vaults/kv1', action: 'PURGE' });
  assert.deepEqual(await of('vaults/kv1'), { vault: 'vaults/kv1', action: 'PURGE' });
  assert.deepEqual(await of('kv1/k1'), { key: 'vaults/kv1/keys/k1', action: 'PURGE' });
  assert.deepEqual(await of('vaults/kv1/keys/k1'), { key: 'vaults/kv1/keys/k1', action: 'PURGE' });
  assert.deepEqual(await of(version), { keyVersion: version, action: 'PURGE' });
  assert.deepEqual(await of(version.replace('vaults/', '').replace('keys/', '').replace('versions/', '')), {
    keyVersion: version,
    action: 'PURGE',
  });
  assert.deepEqual(await requestOf('impact', 'preview', ADMINISTRATOR), { principal: ADMINISTRATOR });
  await assert.rejects(requestOf('impact', 'kv1/k1/x/y/z'), UsageError);
});

test('vault revoke takes its principal as --principal or as an argument', async () => {
  const principal = 'principals/00000000-0000-4000-8000-000000000002';
  for (const args of [['--principal', principal], [principal]]) {
    assert.deepEqual(await requestOf('vault', 'revoke', 'kv1', ...args), { name: 'vaults/kv1', principal });
  }
});

test('a set without identity is refused as a principal, with the command that assigns one', async () => {
  const set = { name: `${group}/diskEncryptionSets/dz`, identity: { principal: '', type: 'NONE' } };
  for (const args of [
    ['impact', 'set:dz'],
    ['vault', 'grant', 'kv1', '--principal', 'set:dz', '--permissions', 'get'],
    ['vault', 'revoke', 'kv1', '--principal', 'set:dz'],
    ['role', 'assign', 'set:dz', 'reader', '--scope', 'group'],
    ['principal', 'delete', 'set:dz'],
  ]) {
    const { run, sent } = testProgram({ GetDiskEncryptionSet: set });
    const error: unknown = await run(...args).catch((thrown: unknown) => thrown);
    assert.ok(error instanceof UsageError, `${args.join(' ')}: ${error}`);
    assert.equal(
      error.message,
      'dz has no identity: interlock set update dz --identity-type system-assigned assigns one',
    );
    assert.deepEqual(
      sent.map(({ method }) => method),
      ['GetDiskEncryptionSet'],
    );
  }
});

test('the help of a noun has the flags of its default verb', async () => {
  const { run, lines } = testProgram();
  await assert.rejects(run('impact', '--help'), CommanderError);
  assert.match(lines.join('\n'), /--action <disable\|delete\|purge\|expire\|revoke>/);
});

test('vm delete --wait waits until the machine is gone', async () => {
  const gone = new Rejection('NOT_FOUND', 'VIRTUAL_MACHINE_NOT_FOUND', '');
  const name = `${group}/virtualMachines/vm1`;
  const answers = {
    DeleteVirtualMachine: { name, provisioningState: 'DELETING' },
    GetVirtualMachine: [{ name, provisioningState: 'DELETING' }, gone],
  };
  const { run, lines } = testProgram(answers);
  await run('vm', 'delete', 'vm1', '--wait');
  assert.deepEqual(lines, ['vm1 is deleted']);
});

test('vault show names the principals of its policies, and shows the id if the name is unknown', async () => {
  const all = [
    ADMINISTRATOR,
    ...['a', 'b', 'c', 'd'].map((digit) => `principals/00000000-0000-4000-8000-00000000000${digit}`),
  ];
  const answers = {
    GetVault: {
      name: 'vaults/kv1',
      accessPolicies: all.map((principal) => ({ principal, keyPermissions: ['GET'] })),
    },
    GetPrincipal: [
      { displayName: 'Olga' },
      { displayName: 'identity', owner: `${group}/diskEncryptionSets/des1` },
      { displayName: 'Otto', state: 'DELETED' },
      new Rejection('PERMISSION_DENIED', 'ACCESS_DENIED', 'no'),
    ],
  };
  const { run, lines } = testProgram(answers);
  await run('vault', 'show', 'kv1');
  const shown = lines.join('\n');
  for (const row of [
    / me \(0{8}-\S+1\) +GET/,
    / Olga \(0{8}-\S+a\) +GET/,
    / set:des1 \(0{8}-\S+b\) +GET/,
    / Otto, deleted \(0{8}-\S+c\) +GET/,
    / {2}0{8}-\S+d +GET/,
  ])
    assert.match(shown, row);
  const json = testProgram(answers);
  await json.run('vault', 'show', 'kv1', '--json');
  assert.deepEqual(
    json.sent.map(({ method }) => method),
    ['GetVault'],
  );
});
