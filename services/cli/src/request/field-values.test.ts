import assert from 'node:assert/strict';
import { test } from 'node:test';
import { UsageError } from '../problems.ts';
import { fieldOf } from './field-flags.ts';
import { durationMs, fieldValue, nameValue, placeholderOf, timeoutMs, type ValueContext } from './field-values.ts';
import { messageValue } from './message-text.ts';
import { methodOf, Service } from './schema.ts';

const context: ValueContext = {
  names: { subscription: 'subscriptions/local', group: 'g' },
  now: Date.UTC(2026, 0, 1, 0, 0, 0, 500),
  kinds: {},
  readFile: (path) => Buffer.from(`content of ${path}`),
};
const encrypt = methodOf(Service.keyVault, 'Encrypt').request;
const createKey = methodOf(Service.keyVault, 'CreateKey').request;
const setDates = methodOf(Service.keyVault, 'SetKeyVersionDates').request;
const createVm = methodOf(Service.compute, 'CreateVirtualMachine').request;

test('bytes are typed with their encoding: text, hex, base64 or a file', () => {
  const read = (text: string) => fieldValue(fieldOf(encrypt, 'plaintext'), text, '--plaintext', context);
  assert.equal(read('text:hello'), 'aGVsbG8=');
  assert.equal(read('hex:68656c6c6f'), 'aGVsbG8=');
  assert.equal(read('base64:aGVsbG8='), 'aGVsbG8=');
  assert.equal(read('@f'), Buffer.from('content of f').toString('base64'));
  for (const wrong of ['hello', 'hex:6', 'base64:!']) assert.throws(() => read(wrong), UsageError);
});

test('times are RFC 3339 or from now on, in whole seconds', () => {
  const read = (text: string) => fieldValue(fieldOf(setDates, 'expire_time'), text, '--expire-time', context);
  assert.equal(read('2030-01-31T12:00:00Z'), '2030-01-31T12:00:00Z');
  assert.equal(read('now'), '2026-01-01T00:00:00Z');
  assert.equal(read('+90d'), '2026-04-01T00:00:00Z');
  assert.equal(read('-5m'), '2025-12-31T23:55:00Z');
  for (const wrong of ['tomorrow', '2030-13-31T12:00:00Z', '+d', '5m']) assert.throws(() => read(wrong), UsageError);
});

test('numbers must be whole and in range', () => {
  const read = (text: string) => fieldValue(fieldOf(createKey, 'key_size_bits'), text, '--size', context);
  assert.equal(read('3072'), 3072);
  for (const wrong of ['3072x', '', '2147483648', '1e3', '0x10']) assert.throws(() => read(wrong), UsageError);
});

test('enums are accepted in any case, and a typing error gets a suggestion', () => {
  const read = (text: string) => fieldValue(fieldOf(encrypt, 'algorithm'), text, '--algorithm', context);
  assert.equal(read('rsa-oaep-256'), 'RSA_OAEP_256');
  assert.equal(read('RSA1_5'), 'RSA1_5');
  assert.throws(() => read('rsa-oaep-25'), /Did you mean rsa-oaep-256\?/);
  assert.throws(() => read('encryption-algorithm-unspecified'), UsageError);
});

test('a message is typed as one argument', () => {
  const field = fieldOf(createVm, 'data_disks');
  assert.ok(field.message);
  const { message } = field;
  const read = (text: string) => messageValue(message, text, '--data-disk', context);
  const d1 = 'subscriptions/local/resourceGroups/g/disks/d1';
  assert.deepEqual(read('d1,lun=2'), { disk: d1, lun: 2 });
  assert.deepEqual(read('lun=1,sku=ultra,size=4,set=des1,delete-with-vm'), {
    lun: 1,
    deleteWithVm: true,
    newDisk: {
      sku: 'ULTRA',
      sizeGib: '4',
      encryption: {
        type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY',
        diskEncryptionSet: 'subscriptions/local/resourceGroups/g/diskEncryptionSets/des1',
      },
    },
  });
  assert.deepEqual(read('{"lun":3}'), { lun: 3 });
  assert.throws(() => read('d1,sku=ultra'), /exclude each other/);
  assert.throws(() => read('d1,lum=1'), /Did you mean lun\?/);
  assert.throws(() => read('{"lun":'), /not JSON/);
  assert.throws(() => read('d1,'), /empty part/);
});

test('durations have a unit', () => {
  assert.deepEqual(
    ['90s', '500ms', '30s', '2m', '1h'].map((text) => durationMs(text, '--timeout')),
    [90_000, 500, 30_000, 120_000, 3_600_000],
  );
  assert.throws(() => durationMs('soon', '--timeout'), UsageError);
  assert.throws(() => durationMs('90', '--timeout'), {
    name: 'UsageError',
    message: '--timeout 90 has no unit: ms, s, m, h or d, as in 90s',
  });
  assert.equal(timeoutMs('500ms'), 500);
  for (const none of ['0s', '0ms', '00h']) assert.throws(() => timeoutMs(none), /must be more than 0/, none);
});

test('help and errors for a size name the unit GiB', () => {
  const size = fieldOf(methodOf(Service.disk, 'CreateDisk').request, 'size_gib');
  assert.equal(placeholderOf(size), 'GiB');
  assert.equal(placeholderOf(fieldOf(createKey, 'key_size_bits')), 'n');
  assert.throws(() => fieldValue(size, '1G', '--size', context), /--size must be a whole number of GiB, not "1G"/);
});

test('an error for an invalid principal names me, set:<set> and the list', () => {
  assert.throws(
    () => nameValue('principal', 'no-one', '--principal', context.names),
    (error) => error instanceof UsageError && /me is.*set:<set>.*interlock principal list/.test(error.message),
  );
  const id = '00000000-0000-4000-8000-000000000001';
  assert.equal(nameValue('principal', id, '--principal', context.names), `principals/${id}`);
});
