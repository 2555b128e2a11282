import assert from 'node:assert/strict';
import { test } from 'node:test';
import { type AuditEntry, entriesOf, rowKeyOf, rowOf } from './entry.ts';

const entry: AuditEntry = {
  time: 1,
  operation: 'KeyUnwrap',
  key: 'vaults/v/keys/k/versions/1',
  requestUri: 'https://v/keys/k/1',
  caller: 'principals/p',
  tenant: 'tenants/t',
  httpStatusCode: 200,
  result: 'success',
  reason: '',
  resource: 'disks/d1',
  correlationId: 'c',
  traceId: 'a',
  durationUs: 5,
  callerAddress: 'here',
};

test('a row returns its entries in order, and stores only the differences of each further entry', () => {
  const entries = [
    entry,
    { ...entry, resource: 'disks/d2', durationUs: 9 },
    { ...entry, time: 2, correlationId: 'd', traceId: '', callerAddress: 'there' },
    entry,
  ];
  const row = rowOf(entries);
  assert.deepEqual(entriesOf(JSON.parse(JSON.stringify(row))), entries);
  assert.deepEqual(row.also, [
    { resource: 'disks/d2', durationUs: 9 },
    { time: 2, correlationId: 'd', traceId: '', callerAddress: 'there' },
    {},
  ]);
  assert.deepEqual(rowOf([entry]), entry, 'an entry alone is stored as it always was');
});

test('entries are alike only if all indexed fields and the outcome are equal', () => {
  const alike = {
    ...entry,
    time: 9,
    resource: 'x',
    correlationId: 'y',
    traceId: 'z',
    durationUs: 1,
    callerAddress: 'w',
  };
  assert.equal(rowKeyOf(alike), rowKeyOf(entry));
  const others: readonly Partial<AuditEntry>[] = [
    { operation: 'KeyWrap' },
    { key: 'vaults/v/keys/k/versions/2' },
    { caller: 'principals/q' },
    { tenant: 'tenants/u' },
    { result: 'refused' },
    { reason: 'KEY_DISABLED' },
    { httpStatusCode: 403 },
    { onBehalfOf: 'principals/r' },
    { occurrences: 2 },
  ];
  for (const other of others) assert.notEqual(rowKeyOf({ ...entry, ...other }), rowKeyOf(entry), JSON.stringify(other));
});
