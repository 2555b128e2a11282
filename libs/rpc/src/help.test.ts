import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { Status } from 'nice-grpc-common';
import { fromWire, toWire } from './errors.ts';
import { helpFor, helpInGeneral, reasonsWithHelp } from './help.ts';

const group = 'subscriptions/local/resourceGroups/g';
const facts = {
  key_version: 'vaults/kv1/keys/k1/versions/0123456789abcdef0123456789abcdef',
  disk_encryption_set: `${group}/diskEncryptionSets/des1`,
};

/** The rejection as its caller receives it. */
const received = (rejection: Rejection, resource?: string): Rejection => {
  const { code, message, details } = toWire(rejection, undefined, resource);
  const error = fromWire(code, message, details, { method: 'm', peer: 'p' });
  assert.ok(error instanceof Rejection);
  return error;
};

test('a refusal carries the help of its reason, with names from its metadata', () => {
  const refused = received(new Rejection('FAILED_PRECONDITION', 'KEY_DISABLED', 'off', facts));
  assert.match(
    refused.help ?? '',
    /^Enable the key: interlock key enable vaults\/kv1\/keys\/k1 \(or vaults\/kv1\/keys\/k1\/versions\/0123/,
  );
  assert.match(refused.help ?? '', /interlock set assign-key \S+\/des1 --key <vault>\/<key> --as-key-owner$/);
  assert.deepEqual(refused.metadata, facts);
});

test('the help names the resource of the request if the metadata of the refusal does not', () => {
  const machine = `${group}/virtualMachines/vm1`;
  const refused = new Rejection('FAILED_PRECONDITION', 'DISK_ATTACHED', 'attached', { virtual_machine: machine });
  assert.match(received(refused, `${group}/disks/d1`).help ?? '', /interlock vm detach \S+\/vm1 \S+\/disks\/d1$/);
  const held = new Rejection('ALREADY_EXISTS', 'KEY_NAME_HELD', 'held');
  assert.match(received(held, 'vaults/kv1/keys/k1').help ?? '', /interlock key recover vaults\/kv1\/keys\/k1\)/);
});

test('a refusal that is passed on keeps its own help; one without help has none', () => {
  const own = new Rejection('NOT_FOUND', 'DISK_NOT_FOUND', 'no', {}, { help: 'Look elsewhere' });
  assert.equal(received(received(own)).help, 'Look elsewhere');
  assert.equal(received(new Rejection('OUT_OF_RANGE', 'BEYOND_END_OF_DISK', 'no')).help, undefined);
  assert.ok(!(fromWire(Status.NOT_FOUND, 'no', undefined, { method: 'm', peer: 'p' }) instanceof Rejection));
});

test('the help of a missing right is the command that grants it', () => {
  const denied = { principal: 'principals/p', action: 'compute/disks/read', scope: 'subscriptions/s' };
  assert.match(
    helpFor('ACCESS_DENIED', denied) ?? '',
    /interlock role assign principals\/p reader --scope subscriptions\/s$/,
  );
  const key = { principal: 'principals/p', permission: 'wrapKey', vault: 'vaults/kv1' };
  assert.match(
    helpFor('ACCESS_DENIED', key) ?? '',
    /interlock vault grant vaults\/kv1 --principal principals\/p --permissions wrap-key$/,
  );
  const network = { principal: 'principals/p', network: 'firewall', vault: 'vaults/kv1' };
  assert.match(helpFor('ACCESS_DENIED', network) ?? '', /interlock vault set-network-rules vaults\/kv1$/);
  // A machine that passes on a refusal of its vault names neither action nor permission.
  const passedOn = helpFor('ACCESS_DENIED', facts) ?? '';
  assert.match(
    passedOn,
    /interlock vault grant vaults\/kv1 --principal set:\S+\/des1 --permissions get,wrap-key,unwrap-key\./,
  );
  assert.match(passedOn, /interlock role assign set:\S+\/des1 keyVaultCryptoServiceEncryptionUser --scope /);
});

test('CMK-37: the help for a deleted identity is to give the set a new one and to grant it access', () => {
  const help = helpFor('IDENTITY_DELETED', { ...facts, principal: 'principals/of-before' }) ?? '';
  assert.match(help, /interlock set update \S+\/des1 --identity-type system-assigned\. Then grant/);
  assert.match(help, /vault grant vaults\/kv1 --principal set:\S+\/des1 .* role assign set:\S+\/des1 /);
});

test('CMK-108: the help for a purged key is to restore a backup of it', () => {
  assert.match(
    helpFor('KEY_PURGED', facts) ?? '',
    /unreadable for good, unless a backup of the key exists\. .*: interlock key restore vaults\/kv1 --backup @<file>$/,
  );
});

test('documentation shows each help with placeholders in place of names', () => {
  assert.equal(helpInGeneral('KEY_VERSION_NOT_FOUND'), 'List the versions: interlock key versions <vault>/<key>');
  for (const reason of reasonsWithHelp) {
    assert.doesNotMatch(helpInGeneral(reason) ?? '{', /[{}]|undefined/, reason);
    assert.doesNotMatch(helpFor(reason) ?? '{', /[{}]|undefined/, reason);
  }
});

test('the help for a disk host that does not respond shows the disk hosts', () => {
  assert.match(helpFor('DISK_HOST_UNREACHABLE', { disk_host: 'diskHosts/disk-0' }) ?? '', /interlock disk-host list$/);
});
