import assert from 'node:assert/strict';
import { test } from 'node:test';
import { invalidBody } from './invalid-body.ts';

const messageFor = (keyword: string, instancePath: string, params: object, message = 'must be string'): string =>
  invalidBody([{ keyword, instancePath, schemaPath: '', params: params as Record<string, unknown>, message }], 'vault')
    .message;

test('the refusal of a body names the member by its path, and what it must be', () => {
  assert.equal(
    messageFor('required', '/properties/activeKey', { missingProperty: 'keyUrl' }),
    "Required parameter 'properties.activeKey.keyUrl' is missing (null).",
  );
  assert.equal(messageFor('required', '', { missingProperty: 'kty' }), "Required parameter 'kty' is missing (null).");
  assert.equal(messageFor('type', '/a/0/b~1c', { type: 'string' }), "'a[0].b/c' must be string");
  assert.equal(messageFor('type', '', { type: 'object' }, 'must be object'), 'the body must be object');
  assert.equal(
    messageFor('enum', '/a', { allowedValues: ['x', 'y'] }, 'must be equal to one of the allowed values'),
    "'a' must be equal to one of the allowed values: x, y",
  );
});
