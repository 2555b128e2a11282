import assert from 'node:assert/strict';
import { spawnSync } from 'node:child_process';
import { test } from 'node:test';
import type { JsonObject } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import { RpcFailure } from '@interlock/rpc';
import { UsageError } from '../problems.ts';
import { type Answers, testProgram } from '../session/test-session.ts';

const group = 'subscriptions/local/resourceGroups/g';
const setNamed = (name: string) => `${group}/diskEncryptionSets/${name}`;
const vm = (name: string) => `${group}/virtualMachines/${name}`;
const version = 'vaults/kv1/keys/k1/versions/0123456789abcdef0123456789abcdef';
const identity = 'principals/00000000-0000-4000-8000-0000000000bb';
const assignment = 'roleAssignments/00000000-0000-4000-8000-000000000001';

const losing = (set: string): JsonObject => ({
  kind: 'SET_LOSES_KEY',
  resource: setNamed(set),
  diskEncryptionSet: setNamed(set),
  keyVersions: [version],
});
const machine = (name: string, set: string, kind: 'STOPS' | 'FAILS_AT_NEXT_START'): JsonObject => ({
  kind: `VIRTUAL_MACHINE_${kind}`,
  resource: vm(name),
  diskEncryptionSet: setNamed(set),
});
const impacts = [
  losing('des1'),
  machine('web', 'des1', 'STOPS'),
  machine('ultra', 'des1', 'FAILS_AT_NEXT_START'),
  losing('des2'),
  machine('web', 'des2', 'STOPS'),
  machine('db', 'des2', 'STOPS'),
];
const running = ['web', 'ultra', 'db', 'other', 'more'].map((name) => ({ name: vm(name), powerState: 'RUNNING' }));
const crypto = {
  name: 'roles/crypto',
  dataActions: ['keyVault/keys/get', 'keyVault/keys/wrapKey', 'keyVault/keys/unwrapKey'],
};
const vault = {
  name: 'vaults/kv1',
  resourceGroup: group,
  permissionModel: 'ACCESS_POLICY',
  accessPolicies: [{ principal: identity, keyPermissions: ['GET', 'WRAP_KEY', 'UNWRAP_KEY'] }],
};
const cloud: Answers = {
  PreviewImpact: { impacts, nextPageToken: '' },
  ListVirtualMachines: { virtualMachines: running, nextPageToken: '' },
  GetVault: vault,
  GetPrincipal: { name: identity, owner: setNamed('des2') },
  GetDiskEncryptionSet: { name: setNamed('des1'), identity: { principal: identity } },
  GetRoleAssignment: { name: assignment, principal: identity, role: 'roles/crypto', scope: `${group}/vaults/kv1` },
};

const reads = /^(Get|List|Preview)/;
const changes = ({ sent }: { readonly sent: readonly { readonly method: string }[] }): readonly string[] =>
  sent.map(({ method }) => method).filter((method) => !reads.test(method));

const refusal = async (args: readonly string[], answers: Answers = cloud): Promise<string> => {
  const program = testProgram(answers);
  const error: unknown = await program.run(...args).catch((thrown: unknown) => thrown);
  assert.ok(error instanceof UsageError, `${args.join(' ')}: ${error}`);
  assert.deepEqual(changes(program), [], args.join(' '));
  return error.message;
};

test('without a terminal a command that stops machines is refused with exit code 2 and the command to repeat', async () => {
  const message = await refusal(['key', 'disable', 'kv1/k1', '--timeout', '40s']);
  assert.equal(
    message,
    '2 machines stop (web, db), 1 fails at its next start (ultra), 2 others in g run on. Nothing was done. To do it, repeat with --confirm: interlock key disable kv1/k1 --timeout 40s --confirm',
  );
});

test('--confirm shows what stops and does it', async () => {
  const program = testProgram(cloud);
  await program.run('key', 'disable', 'kv1/k1', '--confirm');
  assert.deepEqual(changes(program), ['DisableKey']);
  assert.match(
    program.asides.join('\n'),
    /^2 machines stop \(web, db\), 1 fails at its next start \(ultra\), 2 others in g run on$/m,
  );
});

test('in a terminal, a command runs only after the user confirms it', async () => {
  for (const answer of [true, false]) {
    const questions: string[] = [];
    const confirm = async (question: string) => {
      questions.push(question);
      return answer;
    };
    const program = testProgram(cloud, { terminal: { confirm } });
    const run = program.run('key', 'delete', 'kv1/k1');
    if (answer) await run;
    else await assert.rejects(run, UsageError);
    assert.deepEqual(questions, ['Continue?']);
    assert.deepEqual(changes(program), answer ? ['DeleteKey'] : []);
    if (answer) assert.equal(program.sent.at(-1)?.request.confirmName, 'vaults/kv1/keys/k1');
  }
});

test('a command that stops no machine needs no confirmation', async () => {
  const none = {
    ...cloud,
    PreviewImpact: { impacts: [losing('des1'), machine('ultra', 'des1', 'FAILS_AT_NEXT_START')] },
  };
  const program = testProgram(none);
  await program.run('key', 'disable', 'kv1/k1');
  assert.deepEqual(changes(program), ['DisableKey']);
  assert.deepEqual(program.asides, ['no machine stops, 1 fails at its next start (ultra)']);
});

test('every command that takes access to keys away previews its impact', async () => {
  const previews: readonly (readonly [command: string, preview: JsonObject])[] = [
    ['key disable kv1/k1', { key: 'vaults/kv1/keys/k1', action: 'DISABLE' }],
    [`key disable ${version}`, { keyVersion: version, action: 'DISABLE' }],
    [`key set-dates ${version} --expire-time now`, { keyVersion: version, action: 'EXPIRE' }],
    [`key set-dates ${version} --expire-time +2h`, { keyVersion: version, action: 'EXPIRE' }],
    [`key set-dates ${version} --not-before +2h`, { keyVersion: version, action: 'DISABLE' }],
    [`key set-operations ${version} --operations encrypt,wrap-key`, { keyVersion: version, action: 'DISABLE' }],
    ['key delete kv1/k1', { key: 'vaults/kv1/keys/k1', action: 'DELETE' }],
    ['key purge kv1/k1', { key: 'vaults/kv1/keys/k1', action: 'PURGE' }],
    ['vault delete kv1', { vault: 'vaults/kv1', action: 'DELETE' }],
    ['vault purge kv1', { vault: 'vaults/kv1', action: 'PURGE' }],
    ['vault set-permission-model kv1 role-assignment', { vault: 'vaults/kv1', action: 'REVOKE' }],
    [`vault grant kv1 --principal ${identity} --permissions get --replace`, { vault: 'vaults/kv1', action: 'REVOKE' }],
    [`vault revoke kv1 --principal ${identity}`, { vault: 'vaults/kv1', action: 'REVOKE' }],
    ['set update des1 --identity-type none', { principal: identity, action: 'DELETE' }],
    [`principal delete ${identity}`, { principal: identity, action: 'DELETE' }],
    [`role unassign ${assignment}`, { principal: identity, action: 'REVOKE' }],
  ];
  const roles = { ...vault, permissionModel: 'ROLE_ASSIGNMENT' };
  for (const [command, preview] of previews) {
    const args = command.split(' ');
    const isOfRoles = args[0] === 'role';
    const answers: Answers = {
      ...cloud,
      ...(isOfRoles ? { GetVault: roles, ListRoles: { roles: [crypto] } } : {}),
      ListRoleAssignments: { roleAssignments: isOfRoles ? [cloud.GetRoleAssignment as JsonObject] : [] },
      ListKeyVersions: { keyVersions: [{ name: version }] },
    };
    const program = testProgram(answers);
    await assert.rejects(
      program.run(...args),
      (error) => error instanceof UsageError && /machines? stop/.test(error.message),
    );
    assert.deepEqual(changes(program), [], command);
    const asked = program.sent.find(({ method }) => method === 'PreviewImpact')?.request ?? {};
    assert.deepEqual(
      { ...asked, pageSize: undefined, pageToken: undefined },
      { ...preview, pageSize: undefined, pageToken: undefined },
      command,
    );
    const done = testProgram(answers);
    await done.run(...args, '--confirm');
    assert.equal(changes(done).length, 1, command);
  }
});

test('a change that takes no access away is not previewed', async () => {
  for (const command of [
    `key set-dates ${version} --expire-time +90d`,
    `key set-operations ${version} --operations wrap-key,unwrap-key`,
    `vault grant kv1 --principal ${identity} --permissions get`,
    `vault grant kv1 --principal ${identity} --permissions all --replace`,
    'vault revoke kv1 --principal principals/00000000-0000-4000-8000-0000000000cc',
    'vault set-permission-model kv1 access-policy',
    'set update des1 --auto-restart',
  ]) {
    const program = testProgram(cloud);
    await program.run(...command.split(' '));
    assert.equal(changes(program).length, 1, command);
    assert.ok(!program.sent.some(({ method }) => method === 'PreviewImpact'), command);
  }
  const person = testProgram({ ...cloud, GetPrincipal: { name: identity, owner: '' } });
  await person.run('principal', 'delete', identity);
  assert.deepEqual(changes(person), ['DeletePrincipal']);
});

test('the preview of a revoked grant counts only the set that has the grant', async () => {
  const message = await refusal(['vault', 'revoke', 'kv1', '--principal', identity]);
  assert.match(message, /^2 machines stop \(web, db\), 3 others in g run on\./);
  assert.doesNotMatch(message, /ultra/);
});

test('CMK-27: a set with a grant of the other permission model loses nothing', async () => {
  const at = (scope: string) => ({ name: assignment, principal: identity, role: 'roles/crypto', scope });
  const model = ['vault', 'set-permission-model', 'kv1', 'role-assignment'];
  const granted = { ...cloud, ListRoles: { roles: [crypto] } };
  const officer = { name: 'roles/crypto', dataActions: ['keyVault/keys/*'] };
  const byOfficer = { ...cloud, ListRoles: { roles: [officer] }, ListRoleAssignments: { roleAssignments: [at('/')] } };
  await testProgram(byOfficer).run(...model);
  for (const scope of [group, `${group}/vaults/kv1`, `${group}/vaults/kv1/keys/k1`, '/']) {
    const program = testProgram({ ...granted, ListRoleAssignments: { roleAssignments: [at(scope)] } });
    await program.run(...model);
    assert.deepEqual(changes(program), ['SetPermissionModel'], scope);
  }
  const elsewhere = { ...granted, ListRoleAssignments: { roleAssignments: [at(`${group}/vaults/kv2`)] } };
  assert.match(await refusal(model, elsewhere), /^2 machines stop/);
});

test('removing a role that another assignment also gives needs no confirmation', async () => {
  const other = { ...(cloud.GetRoleAssignment as JsonObject), name: assignment.replace(/1$/, '2'), scope: group };
  const program = testProgram({
    ...cloud,
    GetVault: { ...vault, permissionModel: 'ROLE_ASSIGNMENT' },
    ListRoles: { roles: [crypto] },
    ListRoleAssignments: { roleAssignments: [cloud.GetRoleAssignment as JsonObject, other] },
  });
  await program.run('role', 'unassign', assignment);
  assert.deepEqual(changes(program), ['DeleteRoleAssignment']);
});

test('a command whose impact is unknown needs --confirm, and runs with it', async () => {
  const gone = new RpcFailure('UNAVAILABLE', 'PreviewImpact', 'disk-encryption-set', 'no connection');
  const answers = { ...cloud, PreviewImpact: gone };
  assert.match(
    await refusal(['key', 'disable', 'kv1/k1'], answers),
    /^which machines stop is not known: .*no connection/,
  );
  const program = testProgram(answers);
  await program.run('key', 'disable', 'kv1/k1', '--confirm');
  assert.deepEqual(changes(program), ['DisableKey']);
});

test('a caller who may not make the change gets the refusal of the change', async () => {
  const denied = new Rejection('PERMISSION_DENIED', 'ACCESS_DENIED', 'no');
  const program = testProgram({ ...cloud, PreviewImpact: denied, DisableKey: denied });
  await assert.rejects(program.run('key', 'disable', 'kv1/k1'), { reason: 'ACCESS_DENIED' });
  assert.deepEqual(changes(program), ['DisableKey']);
  // It says nothing of machines that the caller may not see.
  assert.deepEqual(program.asides, []);
});

test('the preview of a confirmed command ends after a few seconds and prints "at least"', async () => {
  let nowMs = 0;
  const clock = {
    now: () => nowMs,
    monotonicMs: () => (nowMs += 1_600),
    bootMs: () => nowMs,
    sleep: async () => {},
    alarm: () => ({ cancel: () => {} }),
  };
  const page = { impacts: [machine('web', 'des1', 'STOPS')], nextPageToken: 'more' };
  const program = testProgram({ ...cloud, PreviewImpact: page }, { clock });
  await program.run('key', 'disable', 'kv1/k1', '--confirm');
  assert.deepEqual(changes(program), ['DisableKey']);
  assert.match(program.asides.join('\n'), /^at least 1 machine stops \(web\)/);
});

test('Ctrl-C while a command waits for key-vault says that the request may have arrived, and ends with 130', () => {
  const testSession = JSON.stringify(new URL('../session/test-session.ts', import.meta.url).href);
  const program = `
    const { testProgram } = await import(${testSession});
    setInterval(() => undefined, 1_000);
    const err = (text) => process.stderr.write(text + '\\n');
    const forever = { then: () => setImmediate(() => process.kill(process.pid, 'SIGINT')) };
    const { run } = testProgram({ DisableKey: forever }, { terminal: { err } });
    await run('key', 'disable', 'kv1/k1', '--timeout', '40s');`;
  const { status, stderr } = spawnSync(process.execPath, ['--input-type=module', '--eval', program]);
  assert.match(String(stderr), /^interrupted: key-vault may have received the request and carry it out$/m);
  assert.equal(status, 130);
});

test('one --confirm is for all keys of a command', async () => {
  assert.match(
    await refusal(['key', 'disable', 'kv1/k1', 'kv1/k2']),
    /^2 machines stop .* interlock key disable kv1\/k1 kv1\/k2 --confirm$/,
  );
  const program = testProgram(cloud);
  await program.run('key', 'disable', 'kv1/k1', 'kv1/k2', '--confirm');
  assert.deepEqual(changes(program), ['DisableKey', 'DisableKey']);
});
