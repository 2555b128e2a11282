import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Principal } from '@interlock/contracts/interlock/identity/v1/principal.ts';
import { directoryFilterOf } from './filter.ts';

const id = '0198a2b4-6c1d-4e3f-8a5b-2c7d9e0f1a3b';
const olga = Principal.fromPartial({ name: `principals/${id}`, displayName: "Olga's backup", type: 'APPLICATION' });

test('a filter of the directory finds principals by id, by name, and by the start of the name', () => {
  const fitting = [
    undefined,
    `servicePrincipalNames/any(c:c eq '${id.toUpperCase()}')`,
    `appId eq '${id}'`,
    "displayName eq 'olga''s backup'",
    `startswith(displayName,'Olga') and id eq '${id}'`,
    "servicePrincipalType eq 'Application'",
  ];
  for (const filter of fitting) assert.equal(directoryFilterOf(filter).fits(olga), true, filter);
  for (const filter of ["displayName eq 'Olga'", "appId eq 'other'", "startswith(displayName,'backup')"])
    assert.equal(directoryFilterOf(filter).fits(olga), false, filter);
  assert.equal(directoryFilterOf(`appId eq '${id}'`).id, id);
});

test('a term of another form is refused', () => {
  for (const filter of ["tags/any(t:t eq 'x')", 'displayName', "appId ne 'x'"])
    assert.throws(() => directoryFilterOf(filter), { status: 400, code: 'Request_UnsupportedQuery' });
});
