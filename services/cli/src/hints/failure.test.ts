import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { JsonObject } from '@bufbuild/protobuf';
import { Rejection } from '@interlock/event-store';
import { type CallOptions, RpcFailure } from '@interlock/rpc';
import { CommanderError } from 'commander';
import { NotSettled } from '../commands/settle.ts';
import { TraceNotFound } from '../commands/trace-not-found.ts';
import { OutputProblem } from '../output/output-problem.ts';
import { withResource } from '../request/calls.ts';
import { UsageError } from '../request/usage-error.ts';
import { NoCloud } from '../session/settings.ts';
import { failureJson, failureOf, failureText } from './failure.ts';
import { lookBehind } from './vault-look.ts';

const names = { subscription: 'subscriptions/local', group: 'g' };
const trace = '0af7651916cd43dd8448eb211c80319c';
const key = 'vaults/kv1/keys/k1/versions/0123456789abcdef0123456789abcdef';

test('a refusal says code, reason, message, trace and what to do', () => {
  const error = new Rejection('FAILED_PRECONDITION', 'KEY_DISABLED', 'the key is disabled', { key_version: key });
  const failure = failureOf(error, trace, names);
  assert.equal(failure.exitCode, 1);
  const [line, traced, hint] = failureText(failure).split('\n');
  assert.equal(line, 'error: FAILED_PRECONDITION KEY_DISABLED: the key is disabled');
  assert.equal(traced, `trace: ${trace}`);
  assert.match(
    hint ?? '',
    /^hint: interlock key enable kv1\/k1 where the key .* as a whole, kv1\/k1\/0123456789abcdef0123456789abcdef where this version was, or /,
  );
  const { error: json } = failureJson(failure);
  assert.ok(typeof json === 'object' && json !== null && 'reason' in json && json.reason === 'KEY_DISABLED');
});

test('the trace of the command and that of the loss behind its failure are told apart', () => {
  const loss = 'ab'.repeat(16);
  const refused = new Rejection('FAILED_PRECONDITION', 'KEY_DISABLED', 'no', { key_version: key, trace_id: loss });
  const notStarted = new NotSettled('KEY_DISABLED', 'no', { trace_id: loss });
  for (const error of [refused, notStarted]) {
    const failure = failureOf(error, trace, names);
    assert.deepEqual(failureText(failure).split('\n').slice(1, 3), [`trace: ${trace}`, `trace of the cause: ${loss}`]);
    const { error: json } = failureJson(failure);
    assert.ok(typeof json === 'object' && json !== null && !Array.isArray(json));
    assert.deepEqual([json.trace, json.causeTrace], [trace, loss]);
  }
  const own = new Rejection('FAILED_PRECONDITION', 'KEY_DISABLED', 'no', { trace_id: trace });
  assert.equal(failureOf(own, trace, names).causeTrace, undefined);
});

test('exit codes tell refused, not understood and no answer apart', () => {
  const cases: readonly (readonly [unknown, number])[] = [
    [new Rejection('NOT_FOUND', 'DISK_NOT_FOUND', ''), 1],
    [new NotSettled('TIMEOUT', ''), 1],
    [new TraceNotFound(''), 1],
    [new RpcFailure('INTERNAL', 'm', 'p', ''), 1],
    [new Error('defect'), 1],
    [new OutputProblem('', ''), 1],
    [new UsageError(''), 2],
    [new CommanderError(1, 'commander.unknownOption', ''), 2],
    [new RpcFailure('UNAVAILABLE', 'm', 'p', ''), 3],
    [new RpcFailure('DEADLINE_EXCEEDED', 'm', 'p', ''), 3],
    [new Rejection('UNAVAILABLE', 'KEY_VAULT_UNREACHABLE', ''), 3],
    [new NoCloud(''), 3],
  ];
  for (const [error, exitCode] of cases) assert.equal(failureOf(error, trace, names).exitCode, exitCode, String(error));
});

test('more time is offered to who had too little, and not where nobody listens', () => {
  const hintOf = (code: 'UNAVAILABLE' | 'DEADLINE_EXCEEDED') =>
    failureOf(new RpcFailure(code, 'm', 'p', 'connect ECONNREFUSED 127.0.0.1:1'), trace, names).hint;
  assert.equal(hintOf('UNAVAILABLE'), 'interlock status shows who serves');
  assert.equal(
    hintOf('DEADLINE_EXCEEDED'),
    'this service, or one that it waits for, gives no answer: interlock status shows who serves; give it longer with --timeout',
  );
});

test('whatever a service could not do for want of another says where to look', () => {
  const hintOf = (reason: string) => failureOf(new Rejection('UNAVAILABLE', reason, ''), trace, names).hint ?? '';
  for (const reason of ['DEPENDENCY_UNAVAILABLE', 'DISK_HOST_LEASE_OVER']) {
    assert.equal(hintOf(reason), 'interlock status shows who serves');
  }
  assert.match(hintOf('STORE_UNAVAILABLE'), /does not reach Postgres: interlock status/);
  const late = new NotSettled('VM_START_TIMED_OUT', 'late');
  assert.match(failureOf(late, trace, names).hint ?? '', /^interlock status shows who serves; then interlock vm start/);
});

test('who is not let in may have been deleted, which is not told to whoever has no token', () => {
  const error = new Rejection('UNAUTHENTICATED', 'INVALID_CLIENT', '');
  assert.match(failureOf(error, trace, names).hint ?? '', /deleted is answered alike, .*: interlock principal show/);
});

test('what was not understood has no trace: nothing was sent', () => {
  assert.equal(failureText(failureOf(new UsageError('missing <vm>'), trace, names)), 'error: missing <vm>');
});

test('a file that cannot be written is a failure of the command, with what to do about it', () => {
  assert.equal(
    failureText(failureOf(new OutputProblem('a/b is there already', 'name another one'), undefined, names)),
    'error: FAILED OUTPUT_NOT_WRITTEN: a/b is there already\nhint: name another one',
  );
});

test('a message of several lines stays one line', () => {
  assert.equal(failureText(failureOf(new UsageError('a\n  b'), undefined, names)), 'error: a b');
});

test('of what was typed far too long the beginning is told back, and names in full', () => {
  const long = 'n'.repeat(5_000);
  const refused = new Rejection('INVALID_ARGUMENT', 'ID_INVALID', `no "${long.slice(0, 200)}"`, {
    resource: `vaults/${long}`,
  });
  for (const error of [new UsageError(`<vm> "${long}" is not a name, "${long}"`), refused]) {
    const failure = failureOf(error, trace, names);
    assert.ok(failureText(failure).length < 500, failureText(failure));
    assert.match(failureText(failure), /n{80}… \(5000 letters\)/);
  }
  const name = `subscriptions/local/resourceGroups/${'g'.repeat(80)}/disks/${'d'.repeat(80)}`;
  assert.ok(failureText(failureOf(new UsageError(`not "${name}"`), trace, names)).includes(name));
  const choices = `--permissions <${Array.from({ length: 40 }, (_, index) => `right-${index}`).join('|')}>`;
  assert.ok(failureText(failureOf(new UsageError(`missing ${choices}`), trace, names)).includes(choices));
});

test('missing rights name the way to give them', () => {
  const byPolicy = new Rejection('PERMISSION_DENIED', 'ACCESS_DENIED', '', {
    permission: 'wrapKey',
    vault: 'vaults/kv1',
    principal: 'principals/p',
  });
  assert.match(
    failureOf(byPolicy, trace, names).hint ?? '',
    /permission wrapKey is missing: interlock vault grant kv1 --principal p --permissions wrap-key/,
  );
  const byRole = new Rejection('PERMISSION_DENIED', 'ACCESS_DENIED', '', {
    action: 'disks/read',
    scope: 'subscriptions/s',
    principal: 'principals/p',
  });
  assert.match(
    failureOf(byRole, trace, names).hint ?? '',
    /disks\/read is missing;.* interlock role assign p reader --scope subscriptions\/s$/,
  );
  const ofSets = (scope: string, rpc: string) => {
    const action = 'compute/diskEncryptionSets/read';
    const refusal = new Rejection('PERMISSION_DENIED', 'ACCESS_DENIED', '', { action, scope });
    return failureOf(withResource(refusal, {}, rpc), trace, names).hint ?? '';
  };
  assert.match(
    ofSets('/', 'ListLeases'),
    /^leases of a set you may see: interlock lease list --set <set>; .* reader --scope \/$/,
  );
  assert.match(ofSets('/', 'PreviewImpact'), /^of the identity of a set you may see: interlock impact set:<set>; /);
  for (const hint of [ofSets('subscriptions/s', 'ListLeases'), ofSets('/', 'ListDiskEncryptionSets')])
    assert.match(hint, /^the right compute/);
  // What a machine says of its vault does not tell which of the two it is.
  const passedOn = new Rejection('FAILED_PRECONDITION', 'ACCESS_DENIED', '', {
    key_version: `vaults/kv1/keys/k1/versions/${'a'.repeat(32)}`,
    disk_encryption_set: 'subscriptions/s/resourceGroups/g/diskEncryptionSets/des1',
  });
  const hint = failureOf(passedOn, trace, names).hint ?? '';
  assert.match(
    hint,
    /^in a vault with access policies interlock vault grant kv1 --principal set:\S*des1 --permissions get,wrap-key,unwrap-key/,
  );
  assert.match(
    hint,
    /; in one with role assignments \(interlock vault show kv1 .*\) interlock role assign set:\S*des1 keyVaultCryptoServiceEncryptionUser --scope /,
  );
});

test('CMK-37: a set whose identity is gone is given another one, and that its grant', () => {
  const refused = new Rejection('FAILED_PRECONDITION', 'IDENTITY_DELETED', '', {
    key_version: key,
    disk_encryption_set: 'subscriptions/local/resourceGroups/g/diskEncryptionSets/des1',
    principal: 'principals/of-before',
  });
  const hint = failureOf(refused, trace, names).hint ?? '';
  assert.match(hint, /^interlock set update des1 --identity-type system-assigned /);
  assert.match(hint, /then .* interlock vault grant kv1 --principal set:des1 .* interlock role assign set:des1 /);
});

test('CMK-108: a refusal because of a purged key says that only a backup of the key helps', () => {
  const facts = {
    key_version: key,
    disk_encryption_set: 'subscriptions/local/resourceGroups/g/diskEncryptionSets/des1',
  };
  assert.equal(
    failureOf(new Rejection('FAILED_PRECONDITION', 'KEY_PURGED', '', facts), trace, names).hint,
    'data under it is lost for good, unless a backup of the key exists: interlock key restore kv1 --backup @<file>',
  );
});

test('the vault behind a failure is looked at where its permission model decides what helps, and only there', async () => {
  const asked: unknown[] = [];
  const deadlines: unknown[] = [];
  const call = async (_service: string, _method: unknown, { name }: JsonObject, options?: CallOptions) => {
    asked.push(name);
    deadlines.push(options?.deadlineMs);
    return { permissionModel: 'ROLE_ASSIGNMENT', resourceGroup: 'subscriptions/s/resourceGroups/g' };
  };
  const facts = {
    key_version: key,
    disk_encryption_set: 'subscriptions/local/resourceGroups/g/diskEncryptionSets/des1',
  };
  for (const reason of ['ACCESS_DENIED', 'IDENTITY_DELETED']) {
    for (const error of [new Rejection('PERMISSION_DENIED', reason, '', facts), new NotSettled(reason, '', facts)]) {
      const { hint = '' } = failureOf(error, trace, names, await lookBehind({ call }, error));
      assert.ok(hint.endsWith('EncryptionUser --scope subscriptions/s/resourceGroups/g/vaults/kv1'), hint);
      assert.ok(!hint.includes('vault grant'), hint);
    }
  }
  assert.deepEqual(asked.splice(0), Array(4).fill('vaults/kv1'));
  assert.deepEqual(deadlines, Array(4).fill(2_000), 'a vault that is silent holds no failure up');
  await lookBehind({ call }, new Rejection('PERMISSION_DENIED', 'ACCESS_DENIED', '', { ...facts, permission: 'get' }));
  await lookBehind({ call }, new Rejection('FAILED_PRECONDITION', 'KEY_DISABLED', '', facts));
  await lookBehind({ call }, new Rejection('PERMISSION_DENIED', 'ACCESS_DENIED', ''));
  assert.deepEqual(asked, [], 'the refusal says all, or nothing to look at');
});

test('a machine that does not start because the key vault is on hold is told so, where the caller may look', async () => {
  const error = new NotSettled('KEY_VAULT_UNREACHABLE', 'no answer', { key_version: key });
  const hintWith = async (answer: () => JsonObject): Promise<string> => {
    const call = async () => answer();
    return failureOf(error, trace, names, await lookBehind({ call }, error)).hint ?? '';
  };
  assert.match(
    await hintWith(() => ({ hold: { holdId: 'h1' } })),
    /^it serves, and is on hold: .* interlock hold confirm h1$/,
  );
  const plain = /^try again; interlock status shows whether the key vault serves$/;
  assert.match(await hintWith(() => ({})), plain);
  const denied = new Rejection('PERMISSION_DENIED', 'ACCESS_DENIED', 'no');
  assert.match(
    await hintWith(() => {
      throw denied;
    }),
    plain,
  );
});

test('what is not there says how to see what is, and in which group it was looked for', () => {
  const hintOf = (reason: string, metadata: Readonly<Record<string, string>>) =>
    failureOf(new Rejection('NOT_FOUND', reason, 'no', metadata), trace, names).hint ?? '';
  const below = (kind: string) => ({ resource: `subscriptions/local/resourceGroups/nope/${kind}/x` });
  assert.match(hintOf('VIRTUAL_MACHINE_NOT_FOUND', below('virtualMachines')), /^interlock vm list --group nope /);
  assert.match(hintOf('DISK_NOT_FOUND', below('disks')), /^interlock disk list --group nope /);
  assert.match(hintOf('SNAPSHOT_NOT_FOUND', below('snapshots')), /^interlock snapshot list --group nope /);
  assert.match(
    hintOf('DISK_ENCRYPTION_SET_NOT_FOUND', below('diskEncryptionSets')),
    /^interlock set list --group nope /,
  );
  assert.match(hintOf('PRINCIPAL_NOT_FOUND', { rpc: 'PreviewImpact' }), /: interlock impact set:<set>; /);
  const elsewhere = { resource: 'subscriptions/s2/resourceGroups/g/disks/x' };
  assert.match(hintOf('DISK_NOT_FOUND', elsewhere), /^interlock disk list --group g --subscription s2 # /);
  const own = { resource: 'subscriptions/local/resourceGroups/g/virtualMachines/x' };
  assert.match(hintOf('VIRTUAL_MACHINE_NOT_FOUND', own), /^interlock vm list # those there are/);
  assert.match(hintOf('KEY_NOT_FOUND', { resource: 'vaults/kv1/keys/k9' }), /key list-deleted kv1; .*key list kv1$/);
  for (const reason of ['VAULT_NOT_FOUND', 'PRINCIPAL_NOT_FOUND', 'ROLE_ASSIGNMENT_NOT_FOUND', 'PARKED_FACT_NOT_FOUND'])
    assert.match(hintOf(reason, {}), /^interlock [a-z]+ (list|assignments) # those there are/);
  const inUse = new Rejection('FAILED_PRECONDITION', 'KEY_IN_USE', 'in use', { key: 'vaults/kv1/keys/k1' });
  assert.match(
    failureOf(inUse, trace, names).hint ?? '',
    /impact kv1\/k1 --action delete .* --confirm kv1\/k1, or k1 for short$/,
  );
  for (const [reason, name] of [
    ['KEY_IN_USE', 'vaults/kv1/keys/k1'],
    ['VAULT_IN_USE', 'vaults/kv1'],
  ] as const) {
    const purge = new Rejection('FAILED_PRECONDITION', reason, 'in use', { resource: name, action: 'purge' });
    assert.match(failureOf(purge, trace, names).hint ?? '', /^interlock impact kv1\S* --action purge /, reason);
  }
  const ofSet = { disk_encryption_set: 'subscriptions/local/resourceGroups/other/diskEncryptionSets/des1' };
  assert.match(hintOf('IDENTITY_IN_USE', ofSet), /^interlock impact set:other\/des1 .* --confirm set:other\/des1$/);
});

test('a hint names what the request was about, also where the refusal names something else alone', () => {
  const group = 'subscriptions/local/resourceGroups/g';
  const machine = `${group}/virtualMachines/vm1`;
  const attached = new Rejection(
    'FAILED_PRECONDITION',
    'DISK_ATTACHED',
    `the disk is attached to ${machine}: detach it`,
    {
      virtual_machine: machine,
    },
  );
  const { hint, message } = failureOf(withResource(attached, { name: `${group}/disks/d1` }), trace, names);
  assert.match(hint ?? '', /^interlock vm deallocate vm1; .* interlock vm detach vm1 d1$/);
  assert.equal(message, attached.message);
});

test('a name that something deleted holds is given back by a command that names it', () => {
  const hintOf = (reason: string, request: object) =>
    failureOf(withResource(new Rejection('ALREADY_EXISTS', reason, 'held'), { ...request }), trace, names).hint;
  const inGroup = { resourceGroup: 'subscriptions/local/resourceGroups/g', location: 'westeurope' };
  assert.equal(
    hintOf('VAULT_NAME_HELD', { vaultId: 'kv1', ...inGroup }),
    'interlock vault recover kv1, or take another name',
  );
  assert.equal(
    hintOf('KEY_NAME_HELD', { parent: 'vaults/kv1', keyId: 'k1' }),
    'interlock key recover kv1/k1, or take another name',
  );
});

test('what is known of a failure is added to its words where they do not say it', () => {
  const loss = {
    disk: 'disks/d1',
    key_version: 'vaults/kv1/keys/k1/versions/1',
    since: 'yesterday',
    reason: 'KEY_DISABLED',
  };
  const told = (message: string) => failureOf(new NotSettled('KEY_DISABLED', message, loss), trace, names).message;
  assert.equal(told('off'), 'off (disks/d1, vaults/kv1/keys/k1/versions/1, since yesterday)');
  assert.equal(
    told(`key '${loss.key_version}' is off`),
    `key '${loss.key_version}' is off (disks/d1, since yesterday)`,
  );
});

test('a key vault on hold says what to look at and what ends it', () => {
  const error = new Rejection('UNAVAILABLE', 'KEY_VAULT_ON_HOLD', 'on hold', { hold: 'a1b2c3d4' });
  assert.match(
    failureText(failureOf(error, trace, names)),
    /hint: .*interlock hold show.*interlock hold confirm a1b2c3d4/,
  );
});
