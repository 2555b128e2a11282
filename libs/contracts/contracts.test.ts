import assert from 'node:assert/strict';
import { readdirSync } from 'node:fs';
import { test } from 'node:test';
import { createFileRegistry, type DescMessage, type DescMethod, fromBinary } from '@bufbuild/protobuf';
import { FileDescriptorSetSchema, MethodOptions_IdempotencyLevel } from '@bufbuild/protobuf/wkt';
import { fileDescriptorSet } from './src/descriptors.ts';
import { KeyAccessReason } from './src/interlock/access/v1/access.ts';
import { UnwrapKeyResponse } from './src/interlock/key_vault/v1/cryptography.ts';
import { KeyVaultEvent } from './src/interlock/key_vault/v1/key_vault_events.ts';
import { FactBatch } from './src/interlock/messaging/v1/messaging.ts';

const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, fileDescriptorSet));
const files = [...registry.files].filter((file) => file.name.startsWith('interlock/'));
const messages = files.flatMap((file) => file.messages);
const methods: readonly DescMethod[] = files.flatMap((file) => file.services).flatMap((service) => service.methods);

function message(typeName: string): DescMessage {
  const found = registry.getMessage(typeName);
  assert.ok(found, `${typeName} is not in the descriptor set`);
  return found;
}

test('the descriptor set holds the service of every package', () => {
  assert.deepEqual(files.flatMap((file) => file.services.map((service) => service.typeName)).sort(), [
    'interlock.compute.v1.ComputeService',
    'interlock.compute.v1.VmHostService',
    'interlock.disk.v1.DiskDataService',
    'interlock.disk.v1.DiskHostService',
    'interlock.disk.v1.DiskService',
    'interlock.disk_encryption_set.v1.DiskEncryptionSetService',
    'interlock.identity.v1.IdentityService',
    'interlock.key_vault.v1.KeyVaultService',
    'interlock.messaging.v1.MessagingService',
  ]);
});

test('Node imports every generated file without a build', async () => {
  const folder = new URL('./src/', import.meta.url);
  const generated = readdirSync(folder, { recursive: true, encoding: 'utf8' }).filter((path) => path.endsWith('.ts'));
  assert.ok(generated.length > files.length);
  for (const path of generated) assert.ok(Object.keys(await import(new URL(path, folder).href)).length > 0, path);
});

test('every RPC is marked as idempotent or without side effects, except AddSecret', () => {
  const unmarked = methods.filter(
    (method) => method.idempotency === MethodOptions_IdempotencyLevel.IDEMPOTENCY_UNKNOWN,
  );
  assert.deepEqual(
    unmarked.map((method) => method.name),
    ['AddSecret'],
  );
});

test('exactly the RPCs that only read are marked as without side effects', () => {
  const reads = /^(Describe|Get|List|Read|Watch|Preview|Check(?=Permission))/;
  for (const method of methods) {
    const marked = method.idempotency === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS;
    assert.equal(marked, reads.test(method.name), `${method.parent.typeName}.${method.name}`);
  }
});

test('every list RPC has pages, except ListSigningKeys', () => {
  const lists = methods.filter((method) => method.name.startsWith('List') && method.name !== 'ListSigningKeys');
  assert.ok(lists.length > 15);
  for (const { name, input, output } of lists) {
    const asked = input.fields.map((field) => field.name);
    assert.ok(asked.includes('page_size') && asked.includes('page_token'), name);
    assert.ok(
      output.fields.some((field) => field.name === 'next_page_token'),
      name,
    );
  }
});

test('every request that changes one resource has an etag', () => {
  // The guests of a VM host are no resources: a call names the placement that it belongs to.
  const ofResources = methods.filter(({ parent }) => parent.name !== 'VmHostService');
  const changes = ofResources.filter((method) =>
    /^(Delete|Remove|Enable|Disable|Set|Grow|Change|Assign|Start|PowerOff|Deallocate|Restart)/.test(method.name),
  );
  assert.ok(changes.length > 15);
  for (const { name, input } of changes) {
    const has = (wanted: string): boolean => input.fields.some((field) => field.name === wanted);
    // A call for several resources has only their names; the call for one has the etag.
    const isOneOfMany = has('names') && changes.some((one) => `${one.name}s` === name);
    assert.ok(isOneOfMany || has('etag'), name);
  }
});

test('each field of an event envelope is named after its message, which is the type of the fact', () => {
  const envelopes = messages.filter((candidate) => candidate.oneofs.some((oneof) => oneof.name === 'event'));
  assert.equal(envelopes.length, 5);
  for (const envelope of envelopes) {
    for (const field of envelope.oneofs[0]?.fields ?? []) {
      const expected = field.message?.name.replace(/(?<!^)[A-Z]/g, (letter) => `_${letter}`).toLowerCase();
      assert.equal(field.name, expected, envelope.typeName);
    }
  }
});

test('no message field is an unsigned integer', () => {
  assert.equal(message('interlock.messaging.v1.Fact').fields[0]?.name, 'position');
  for (const { typeName, fields } of messages) {
    for (const field of fields)
      assert.doesNotMatch(String(field.proto.type), /^(4|6|7|13)$/, `${typeName}.${field.name}`);
  }
});

test('the reasons of access loss keep their order of precedence', () => {
  assert.deepEqual(Object.values(KeyAccessReason), [
    'KEY_ACCESS_REASON_UNSPECIFIED',
    'KEY_DISABLED',
    'KEY_NOT_YET_VALID',
    'KEY_EXPIRED',
    'KEY_DELETED',
    'KEY_PURGED',
    'KEY_VERSION_NOT_FOUND',
    'VAULT_DELETED',
    'ACCESS_DENIED',
    'IDENTITY_DELETED',
    'KEY_VAULT_UNREACHABLE',
    'THROTTLED',
    'UNRECOGNIZED',
  ]);
});

test('a fact is decoded with the same time, position and payload', () => {
  const keyVersion = `vaults/v/keys/k/versions/${'0'.repeat(32)}`;
  const payload = KeyVaultEvent.encode({
    event: {
      $case: 'keyVersionDisabled',
      value: { vault: 'vaults/v', key: 'vaults/v/keys/k', keyVersion, reason: 'KEY_DISABLED', accessEpoch: 7 },
    },
    changeTime: undefined,
  }).finish();
  const batch = FactBatch.fromPartial({
    source: 'key-vault',
    lastPosition: Number.MAX_SAFE_INTEGER,
    facts: [
      { position: 2 ** 40, eventTime: new Date('2026-01-02T03:04:05.678Z'), type: 'KeyVersionDisabled', payload },
    ],
  });
  const received = FactBatch.decode(FactBatch.encode(batch).finish());
  assert.equal(received.lastPosition, Number.MAX_SAFE_INTEGER);
  const [fact] = received.facts;
  assert.ok(fact);
  assert.equal(fact.position, 2 ** 40);
  assert.equal(fact.eventTime?.toISOString(), '2026-01-02T03:04:05.678Z');
  const { event } = KeyVaultEvent.decode(fact.payload);
  assert.equal(event?.$case, 'keyVersionDisabled');
  assert.equal(event.value.keyVersion, keyVersion);
  assert.equal(event.value.reason, 'KEY_DISABLED');
});

test('decoding copies no bytes, so overwriting a plain key overwrites the only copy', () => {
  const received = UnwrapKeyResponse.encode(
    UnwrapKeyResponse.fromPartial({ plaintextKey: Uint8Array.of(1, 2, 3) }),
  ).finish();
  UnwrapKeyResponse.decode(received).plaintextKey.fill(0);
  assert.deepEqual(UnwrapKeyResponse.decode(received).plaintextKey, Uint8Array.of(0, 0, 0));
});

test('a position above Number.MAX_SAFE_INTEGER is refused, not rounded', () => {
  // Field 5, last_position, with the varint of 2^53.
  const bytes = Uint8Array.from([5 << 3, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x80, 0x10]);
  assert.throws(() => FactBatch.decode(bytes), /larger than Number.MAX_SAFE_INTEGER/);
});
