import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { RpcFailure } from '@interlock/rpc';
import { type Answers, testProgram } from '../session/test-session.ts';

const other = 'principals/00000000-0000-4000-8000-0000000000bb';
const person = 'principals/00000000-0000-4000-8000-0000000000aa';
const version = 'vaults/kv1/keys/k1/versions/0123456789abcdef0123456789abcdef';

/** What a command line sent last and showed. */
const ran = async (answers: Answers, ...args: readonly string[]) => {
  const { run, sent, lines, asides } = testProgram(answers);
  await run(...args);
  const methods = sent.map(({ method }) => method);
  return { request: sent.at(-1)?.request ?? {}, methods, shown: lines.join('\n'), asides };
};

const vault = {
  name: 'vaults/kv1',
  etag: '7',
  accessPolicies: [
    { principal: other, keyPermissions: ['ALL'] },
    { principal: person, keyPermissions: ['GET', 'LIST'] },
  ],
};
const grant = ['vault', 'grant', 'kv1', '--principal', person, '--permissions', 'get,wrap-key'];

test('CMK-25: a grant replaces what a principal might do, and says what it took away', async () => {
  const { request, shown } = await ran({ GetVault: vault, SetAccessPolicy: vault }, ...grant);
  assert.deepEqual(request, {
    name: 'vaults/kv1',
    accessPolicy: { principal: person, keyPermissions: ['GET', 'WRAP_KEY'] },
  });
  assert.match(
    shown,
    /might before: get,list; may now: get,wrap-key\. Taken away: list \(--add keeps what was there\)/,
  );
});

test('--add keeps what was there, of the vault that was seen', async () => {
  const { request, shown } = await ran({ GetVault: vault, SetAccessPolicy: vault }, ...grant, '--add');
  assert.deepEqual(request, {
    name: 'vaults/kv1',
    etag: '7',
    accessPolicy: { principal: person, keyPermissions: ['GET', 'LIST', 'WRAP_KEY'] },
  });
  assert.match(shown, /might before: get,list; may now: get,list,wrap-key$/m);
  const whole = ['vault', 'grant', 'kv1', '--principal', other, '--permissions', 'get', '--add'];
  const all = await ran({ GetVault: vault, SetAccessPolicy: vault }, ...whole);
  assert.deepEqual(
    all.request.accessPolicy,
    { principal: other, keyPermissions: ['ALL'] },
    'there is no more than all',
  );
});

test('a grant in a vault whose rights are roles is said to have no effect', async () => {
  const byRole = { ...vault, permissionModel: 'ROLE_ASSIGNMENT' };
  const { shown } = await ran({ GetVault: byRole, SetAccessPolicy: byRole }, ...grant);
  assert.match(
    shown,
    /^the policy of \S+aa is get,wrap-key, and has no effect; what it may do in this vault is said by roles/m,
  );
  assert.doesNotMatch(shown, /may now/);
});

test('a first grant, more than before, and all of it take nothing away', async () => {
  const none = { ...vault, accessPolicies: [] };
  const first = (await ran({ GetVault: none, SetAccessPolicy: none }, ...grant)).shown;
  assert.match(first, /^00000000-0000-4000-8000-0000000000aa may: get,wrap-key$/m);
  const all = [...grant.slice(0, -1), 'all'];
  const { shown } = await ran({ GetVault: vault, SetAccessPolicy: vault }, ...all);
  assert.match(shown, /might before: get,list; may now: all$/m);
  const less = ['vault', 'grant', 'kv1', '--principal', other, '--permissions', 'get'];
  assert.match((await ran({ GetVault: vault, SetAccessPolicy: vault }, ...less)).shown, /Taken away: all/);
});

test('CMK-100: what a revocation takes is said, also where that is nothing', async () => {
  const revoke = (principal: string) => ['vault', 'revoke', 'kv1', '--principal', principal];
  const answers = { GetVault: vault, RemoveAccessPolicy: vault };
  const { request, shown } = await ran(answers, ...revoke(person));
  assert.deepEqual(request, { name: 'vaults/kv1', principal: person });
  assert.match(shown, /^taken from 00000000-0000-4000-8000-0000000000aa: get,list$/m);
  const set = { name: 'subscriptions/local/resourceGroups/g/diskEncryptionSets/des1', identity: { principal: person } };
  const ofSet = await ran({ ...answers, GetDiskEncryptionSet: set }, ...revoke('set:des1'));
  assert.match(ofSet.shown, /^taken from set:des1 \(00000000-0000-4000-8000-0000000000aa\): get,list$/m);
  assert.match(ofSet.shown, /^ +set:des1 \(00000000-0000-4000-8000-0000000000aa\) +GET,LIST$/m, 'in the table as well');
  const nobody = person.replace('aa', 'cc');
  assert.match((await ran(answers, ...revoke(nobody))).shown, /^nothing to take: \S+cc has no policy here$/m);
  const byRole = { ...answers, GetVault: { ...vault, permissionModel: 'ROLE_ASSIGNMENT' } };
  assert.match((await ran(byRole, ...revoke(person))).shown, /get,list; what it may do in this vault is said by roles/);
  const unseen = { ...answers, GetVault: new Rejection('PERMISSION_DENIED', 'ACCESS_DENIED', 'no') };
  assert.doesNotMatch((await ran(unseen, ...revoke(person))).shown, /take/);
});

test('whoever may grant and not look grants as it was typed, but adds to nothing unseen', async () => {
  const answers = { GetVault: new Rejection('PERMISSION_DENIED', 'ACCESS_DENIED', 'no'), SetAccessPolicy: vault };
  assert.deepEqual((await ran(answers, ...grant)).methods, ['GetVault', 'SetAccessPolicy']);
  await assert.rejects(ran(answers, ...grant, '--add'), { reason: 'ACCESS_DENIED' });
  const body = [
    'vault',
    'grant',
    '--body',
    JSON.stringify({ name: 'vaults/kv1', accessPolicy: { principal: person } }),
  ];
  await assert.rejects(ran(answers, ...body), /missing --permissions/);
});

const dates = { name: version, notBefore: '2026-01-01T00:00:00Z', expireTime: '2027-01-01T00:00:00Z', etag: '3' };
const setDates = ['key', 'set-dates', 'kv1/k1/0123456789abcdef0123456789abcdef'];

test('a date that is not named stays; --clear takes it away', async () => {
  const answers = { GetKeyVersion: dates, SetKeyVersionDates: dates };
  const expireTime = '2030-01-31T12:00:00Z';
  assert.deepEqual((await ran(answers, ...setDates, '--expire-time', expireTime)).request, {
    name: version,
    notBefore: dates.notBefore,
    expireTime,
    etag: '3',
  });
  const cleared = await ran(answers, ...setDates, '--expire-time', expireTime, '--clear');
  assert.deepEqual([cleared.request, cleared.methods], [{ name: version, expireTime }, ['SetKeyVersionDates']]);
  assert.deepEqual((await ran(answers, ...setDates, '--clear')).request, { name: version });
});

test('dates that nobody named are not taken away', async () => {
  const { run, sent } = testProgram({});
  await assert.rejects(run(...setDates), /^UsageError: missing --not-before or --expire-time or --clear\. Usage: /);
  assert.deepEqual(sent, []);
});

test('what is under a set that is not there is no empty list', async () => {
  const missing = new Rejection('NOT_FOUND', 'DISK_ENCRYPTION_SET_NOT_FOUND', 'there is none');
  for (const noun of ['lease', 'disk', 'snapshot'])
    await assert.rejects(ran({ GetDiskEncryptionSet: missing }, noun, 'list', '--set', 'nope'), {
      reason: 'DISK_ENCRYPTION_SET_NOT_FOUND',
    });
  assert.deepEqual((await ran({}, 'lease', 'list')).methods, ['ListLeases']);
});

test('a service of sets that gives no answer hides no lease, and that nobody knows of the set is said', async () => {
  const noAnswers = [
    new Rejection('UNAVAILABLE', 'STORE_UNAVAILABLE', 'nobody home'),
    new Rejection('PERMISSION_DENIED', 'ACCESS_DENIED', 'nobody home'),
    new RpcFailure('DEADLINE_EXCEEDED', 'GetDiskEncryptionSet', 'localhost:1', 'nobody home'),
  ];
  for (const noAnswer of noAnswers) {
    const answers = { GetDiskEncryptionSet: noAnswer };
    const { shown, asides } = await ran(answers, 'lease', 'list', '--set', 'des1');
    assert.equal(shown, 'none');
    // Where it would answer others, its state is not what to look at.
    const isDown = !(noAnswer instanceof Rejection && noAnswer.code === 'PERMISSION_DENIED');
    const end = isDown ? / nobody home \(interlock status shows who serves\)$/ : / nobody home$/;
    assert.match(asides.join('\n'), /^whether there is a set \S+\/des1 is not known: /);
    assert.match(asides.join('\n'), end);
    const json = await ran(answers, 'lease', 'list', '--set', 'des1', '--json');
    assert.match(JSON.parse(json.asides.join()).doubt, end);
  }
  assert.deepEqual((await ran({}, 'lease', 'list', '--set', 'des1')).asides, []);
});

test('a list is not shown where the question about its set was wrong, or the command line is', async () => {
  const failures = [
    new Rejection('INVALID_ARGUMENT', 'NAME_INVALID', 'no such name'),
    new Rejection('UNAUTHENTICATED', 'TOKEN_INVALID', 'who are you'),
    new TypeError('undefined is not a function'),
  ];
  for (const failure of failures)
    await assert.rejects(ran({ GetDiskEncryptionSet: failure }, 'lease', 'list', '--set', 'des1'), failure);
});

test('a vault that was there is said to have been there; one that was made is not', async () => {
  const create = ['vault', 'create', 'kv1', '--group', 'g', '--location', 'westeurope'];
  const missing = new Rejection('NOT_FOUND', 'VAULT_NOT_FOUND', 'no such vault');
  const made = await ran({ GetVault: missing, CreateVault: vault }, ...create);
  assert.doesNotMatch(made.shown, /was there/);
  assert.deepEqual(made.methods, ['GetVault', 'CreateVault']);
  assert.match((await ran({ GetVault: vault, CreateVault: vault }, ...create)).shown, /^kv1 was there already/m);
  // Whoever may make vaults and not see them is told by what it asks for.
  const unseen = new Rejection('PERMISSION_DENIED', 'ACCESS_DENIED', 'no');
  assert.doesNotMatch((await ran({ GetVault: unseen, CreateVault: vault }, ...create)).shown, /was there/);
});

test('whatever is made is said where it was there already', async () => {
  const missing = new Rejection('NOT_FOUND', 'NOT_FOUND', 'it is not there');
  const place = ['--group', 'g', '--location', 'westeurope'];
  const creates: readonly (readonly [string, string, string, readonly string[]])[] = [
    ['GetDisk', 'CreateDisk', 'd1', ['disk', 'create', 'd1', ...place, '--sku', 'ultra', '--size', '4']],
    ['GetSnapshot', 'CreateSnapshot', 's1', ['snapshot', 'create', 's1', '--group', 'g', '--disk', 'd1']],
    ['GetVirtualMachine', 'CreateVirtualMachine', 'vm1', ['vm', 'create', 'vm1', ...place, '--os-disk', 'd1']],
    [
      'GetDiskEncryptionSet',
      'CreateDiskEncryptionSet',
      'des1',
      ['set', 'create', 'des1', ...place, '--key', 'https://kv1.vault/keys/k1/0'],
    ],
    [
      'GetPrincipal',
      'CreatePrincipal',
      '00000000-0000-4000-8000-0000000000ff',
      ['principal', 'create', 'Olga', '--type', 'user'],
    ],
    ['GetTenant', 'CreateTenant', 't1', ['tenant', 'create', 't1']],
    ['GetSubscription', 'CreateSubscription', 'sub1', ['subscription', 'create', 'sub1']],
  ];
  for (const [get, create, name, words] of creates) {
    const again = await ran({ [get]: {}, [create]: {} }, ...words);
    assert.match(again.shown, new RegExp(`^${name} was there already`, 'm'), create);
    assert.deepEqual(again.methods.slice(-2), [get, create]);
    assert.doesNotMatch((await ran({ [get]: missing, [create]: {} }, ...words)).shown, /was there/, create);
  }
});
