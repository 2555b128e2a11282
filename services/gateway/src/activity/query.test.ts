import assert from 'node:assert/strict';
import { test } from 'node:test';
import { eventQueryOf } from './query.ts';

test("an event filter gives time span, resource group, provider and correlation id, as Azure's clients write them", () => {
  const filter =
    "eventTimestamp ge '2026-01-01T00:00:00Z' and eventTimestamp le '2026-01-02T00:00:00.000000Z' and resourceGroupName eq 'G1'";
  assert.deepEqual(eventQueryOf(filter), {
    from: Date.UTC(2026, 0, 1),
    until: Date.UTC(2026, 0, 2),
    group: 'G1',
    hasMachines: true,
  });
  assert.equal(eventQueryOf("resourceProvider eq 'Microsoft.KeyVault'").hasMachines, false);
  assert.equal(eventQueryOf("correlationId eq 'ABC'").correlationId, 'abc');
});

test('an unknown term, and a malformed time, are refused', () => {
  for (const filter of ["color eq 'red'", "eventTimestamp ge 'yesterday'", 'nonsense'])
    assert.throws(() => eventQueryOf(filter), { status: 400, code: 'BadRequest' });
});
