import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { RpcFailure } from '@interlock/rpc';
import { CommanderError } from 'commander';
import { failureJson, failureOf, failureText } from './failure.ts';
import { NoCloud, NotSettled, OutputProblem, TraceNotFound, UsageError } from './problems.ts';

const names = { subscription: 'subscriptions/local', group: 'g' };
const trace = '0af7651916cd43dd8448eb211c80319c';
const key = 'vaults/kv1/keys/k1/versions/0123456789abcdef0123456789abcdef';
const set = 'subscriptions/local/resourceGroups/g/diskEncryptionSets/des1';

test('a refusal shows code, reason, message, trace and help, with names as users type them', () => {
  const facts = { key_version: key, disk_encryption_set: set };
  const failure = failureOf(
    new Rejection('FAILED_PRECONDITION', 'KEY_DISABLED', 'the key is disabled', facts),
    trace,
    names,
  );
  assert.equal(failure.exitCode, 1);
  const [line, traced, help] = failureText(failure).split('\n');
  assert.equal(line, 'error: FAILED_PRECONDITION KEY_DISABLED: the key is disabled');
  assert.equal(traced, `trace: ${trace}`);
  assert.match(help ?? '', /^help: Enable the key: interlock key enable kv1\/k1 \(or kv1\/k1\/0123\w+ if/);
  assert.match(help ?? '', /interlock set assign-key des1 --key <vault>\/<key> --as-key-owner$/);
  const { error: json } = failureJson(failure);
  assert.ok(typeof json === 'object' && json !== null && !Array.isArray(json));
  assert.deepEqual([json.reason, json.help], ['KEY_DISABLED', failure.help]);
});

test('the help from the service replaces that of the reason; a scope is shown in full', () => {
  const group = 'subscriptions/local/resourceGroups/g';
  const help = `Look at ${group}/disks/d1: interlock role assign p reader --scope ${group}`;
  const failure = failureOf(new Rejection('NOT_FOUND', 'DISK_NOT_FOUND', 'no', {}, { help }), trace, names);
  assert.equal(failure.help, `Look at d1: interlock role assign p reader --scope ${group}`);
});

test('the trace of the command and the trace of the access loss are shown separately', () => {
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

test('exit codes distinguish refused, usage and unreachable', () => {
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

test('a service that does not respond: the help is its status, and after a deadline also --timeout', () => {
  const helpOf = (error: unknown) => failureOf(error, trace, names).help ?? '';
  const status = 'Show which services respond: interlock status';
  assert.equal(helpOf(new RpcFailure('UNAVAILABLE', 'm', 'p', 'connect ECONNREFUSED 127.0.0.1:1')), status);
  assert.equal(helpOf(new Rejection('UNAVAILABLE', 'OTHER', '')), status);
  assert.match(helpOf(new RpcFailure('DEADLINE_EXCEEDED', 'm', 'p', '')), /--timeout\. Show which .*interlock status$/);
});

test('a usage error has no trace: nothing was sent', () => {
  assert.equal(failureText(failureOf(new UsageError('missing <vm>'), trace, names)), 'error: missing <vm>');
});

test('a file that cannot be written is a failure of the command, with help', () => {
  assert.equal(
    failureText(failureOf(new OutputProblem('a/b exists', 'name another one'), undefined, names)),
    'error: FAILED OUTPUT_NOT_WRITTEN: a/b exists\nhelp: name another one',
  );
});

test('an error message of several lines is shown on one line', () => {
  assert.equal(failureText(failureOf(new UsageError('a\n  b'), undefined, names)), 'error: a b');
});

test('words longer than any name are cut; names and choices are shown in full', () => {
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

test('disk, key version and time of a loss are added to a message that lacks them', () => {
  const loss = {
    disk: 'disks/d1',
    key_version: 'vaults/kv1/keys/k1/versions/1',
    since: 'yesterday',
    reason: 'KEY_DISABLED',
  };
  const messageOf = (message: string) => failureOf(new NotSettled('KEY_DISABLED', message, loss), trace, names).message;
  assert.equal(messageOf('off'), 'off (disks/d1, vaults/kv1/keys/k1/versions/1, since yesterday)');
  assert.equal(
    messageOf(`key '${loss.key_version}' is off`),
    `key '${loss.key_version}' is off (disks/d1, since yesterday)`,
  );
});
