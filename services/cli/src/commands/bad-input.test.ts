import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { CommanderError } from 'commander';
import { failureOf, failureText } from '../failure.ts';
import { UsageError } from '../problems.ts';
import { withResource } from '../request/calls.ts';
import { methodOf } from '../request/schema.ts';
import { testProgram } from '../session/test-session.ts';
import { verbs } from '../verbs/table.ts';
import { usageOf } from './required.ts';

/** The error for a command line that is not understood; nothing may be sent. */
const messageFor = async (...args: readonly string[]): Promise<string> => {
  const { run, sent } = testProgram({}, { files: { '-': '', empty: '' } });
  const isUsage = (error: unknown): error is Error => error instanceof UsageError || error instanceof CommanderError;
  const error: unknown = await run(...args).then(
    () => assert.fail(`${args.join(' ')} was understood`),
    (failure: unknown) => failure,
  );
  assert.ok(isUsage(error), `${args.join(' ')}: ${error}`);
  assert.deepEqual(sent, [], args.join(' '));
  return error.message;
};

test('bad input is refused before anything is sent', async () => {
  const lines = [
    ['key', 'disbale', 'kv1/k1'],
    ['vm', 'start'],
    ['vm', 'list', '--group', ''],
    ['vm', 'list', '--as', ''],
    ['vm', 'watch', 'vm1', 'vm2'],
    ['vm', 'start', 'vm1', '--no-such-flag'],
    ['key', 'create', 'k1', '--size', '2048'],
    ['key', 'create', 'kv1/k1', '--size', 'big'],
    ['key', 'create', 'kv1/k1', '--size', '0'],
    ['disk', 'create', 'd1', '--sku', 'ulta'],
    ['vault', 'create', 'kv1', '--body', '{"nonsense":1}'],
    ['vault', 'create', 'kv1', '--body', '[]'],
    ['disk', 'create', 'd1', '--source-disk', 'd2', '--source-snapshot', 's1'],
    ['disk', 'read', 'd1', '--offset', '-1'],
    ['parked', 'replay', 'no-service', 'parkedFacts/a-1'],
    ['set', 'assign-key', 'des1', '--key', 'kv1'],
  ];
  for (const args of lines) await messageFor(...args);
});

test('an error names a wrong value by its flag', async () => {
  for (const none of ['0', '-1', 'all'])
    assert.match(await messageFor('disk', 'read', 'd1', '--length', none), /^--length .* 1 or more, not /, none);
  assert.match(await messageFor('disk', 'read', 'd1', '--offset', '-1'), /^--offset .* 0 or more, not /);
  // A managed identity comes with its resource.
  assert.match(
    await messageFor('principal', 'create', 'app', '--type', 'managed-identity'),
    /^--type must be one of user, application, not "managed-identity"\./,
  );
  const vm = ['vm', 'create', 'vm1', '--location', 'w', '--os-disk'];
  assert.match(
    await messageFor(...vm, 'disk=d1,sku=premium-ssd'),
    /^--os-disk: disk and sku exclude each other: write disk, or (?=.*\bsku\b)(?=.*\bsize-gib\b)/,
  );
  assert.match(await messageFor(...vm, 'd1,sku=ultra'), /^--os-disk: disk and sku exclude each other/);
  assert.match(await messageFor(...vm, 'skuu=ultra'), /^--os-disk has no field skuu: write .* Did you mean sku\?$/);
});

test('an error names missing flags and arguments, with the usage of the command', async () => {
  assert.equal(
    await messageFor('key', 'create', 'kv1/k1'),
    'missing --size. Usage: interlock key create <vault/key> --size <2048|3072|4096> [--flags] (--help says more)',
  );
  for (const words of [
    ['disk', 'read'],
    ['disk', 'read', 'd1', 'd2'],
    ['disk', 'read', 'd1', '--ofset', '1'],
  ])
    assert.match(await messageFor(...words), /\. Usage: interlock disk read <disk> \[--flags\] \(--help says more\)$/);
  assert.match(await messageFor('trace'), /^missing required argument 'id'\. Usage: interlock trace <id> \[--flags\]/);
  assert.equal(
    await messageFor('foo'),
    "unknown command 'foo'. Usage: interlock <noun> <verb> [names] [--flags] (--help says more)",
  );
  assert.match(
    await messageFor('vms', 'list'),
    /^unknown command 'vms' \(Did you mean vm\?\)\. Usage: interlock <noun>/,
  );
  assert.match(
    await messageFor('vm', 'foo'),
    /^unknown command 'foo'\. Usage: interlock vm <verb> \[names\] \[--flags\]/,
  );
  assert.match(await messageFor('--no-such-flag', 'vm'), /^unknown option '--no-such-flag'\. Usage: interlock <noun>/);
  assert.match(await messageFor('vm', 'start'), /^missing <vm>\. Usage: interlock vm start <vm\.\.\.> \[--flags\]/);
  assert.match(await messageFor('vault', 'grant', 'kv1'), /^missing --principal, --permissions\. Usage: /);
  assert.match(
    await messageFor('vault', 'revoke', 'kv1'),
    /^missing --principal\. Usage: interlock vault revoke <vault> \[principal\] \[--flags\]/,
  );
  assert.match(
    await messageFor('disk', 'create', 'd1', '--location', 'w', '--sku', 'ultra'),
    /^missing --size or --source-snapshot or --source-disk\. /,
  );
  assert.match(await messageFor('disk', 'change-encryption', 'd1'), /^missing --set or --encryption-type\. /);
  assert.match(await messageFor('set', 'create', 'des1', '--location', 'w'), /^missing --key\. /);
});

test('a field that the body sets is not reported as missing', async () => {
  const { run, sent } = testProgram();
  await run('key', 'create', 'kv1/k1', '--body', '{"keySizeBits":2048}');
  await run('disk', 'grow', 'd1', '--body', '{"size_gib":"8"}');
  assert.deepEqual(
    sent.map(({ method }) => method),
    ['CreateKey', 'GrowDisk'],
  );
});

test('the usage of every verb names only flags it has', () => {
  for (const verb of verbs) {
    const usage = usageOf(verb, methodOf(verb.contract, verb.method).request);
    assert.ok(usage.startsWith(`${verb.noun} ${verb.verb} `), usage);
  }
});

test('a flag that is given twice is refused', async () => {
  assert.equal(
    await messageFor('key', 'create', 'kv1/k1', '--size', '2048', '--size', '4096'),
    '--size is given twice: "2048" and "4096"',
  );
  assert.match(await messageFor('--group', 'g', 'vm', 'start', 'vm1', '--group', 'h'), /^--group is given twice/);
  assert.match(await messageFor('disk', 'read', 'd1', '--offset', '0', '--offset', '8'), /^--offset is given twice/);
  assert.match(
    await messageFor('key', 'create', 'kv1/k1', '--size', '2048', '--key-size-bits', '4096'),
    /^--key-size-bits and --size set the same field/,
  );
});

test('a write of empty input is refused', async () => {
  assert.equal(await messageFor('disk', 'write', 'd1'), 'nothing to write: standard input is empty');
  assert.equal(await messageFor('disk', 'write', 'd1', '--input', 'empty'), 'nothing to write: empty is empty');
});

test('an error without the name of its resource gets it from the request', () => {
  const names = { subscription: 'subscriptions/local', group: 'g' };
  const disk = 'subscriptions/local/resourceGroups/g/disks/d5';
  const told = (error: Rejection, request: object) =>
    failureText({ ...failureOf(withResource(error, { ...request }), undefined, names), help: undefined });
  const nameless = new Rejection('NOT_FOUND', 'DISK_NOT_FOUND', 'no such disk');
  assert.equal(told(nameless, { name: disk }), 'error: NOT_FOUND DISK_NOT_FOUND: d5: no such disk');
  assert.equal(told(nameless, {}), 'error: NOT_FOUND DISK_NOT_FOUND: no such disk');
  const named = new Rejection('NOT_FOUND', 'DISK_NOT_FOUND', `${disk} is not there`);
  assert.equal(told(named, { name: disk }), `error: NOT_FOUND DISK_NOT_FOUND: ${disk} is not there`);
  const vault = new Rejection('NOT_FOUND', 'VAULT_NOT_FOUND', 'vaults/kv9 does not exist');
  assert.equal(
    told(vault, { name: 'vaults/kv9/keys/k1' }),
    'error: NOT_FOUND VAULT_NOT_FOUND: vaults/kv9 does not exist',
  );
  const other = new Error('of another kind');
  assert.equal(withResource(other, { name: disk }), other);
});

test('--version prints the version', async () => {
  const { run, lines } = testProgram();
  await assert.rejects(run('--version'), (error) => error instanceof CommanderError && error.exitCode === 0);
  assert.match(lines.join().trim(), /^interlock \d+\.\d+\.\d+$/);
});
