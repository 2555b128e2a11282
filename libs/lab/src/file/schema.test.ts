import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Ajv2020 } from 'ajv/dist/2020.js';
import schema from '../../experiment.schema.json' with { type: 'json' };
import { synonyms } from './shape.ts';
import { withSteps } from './step-schema.ts';

test('the schema has the actions, causes and parts of the code (npm run rules writes them)', () => {
  assert.deepEqual(schema, JSON.parse(JSON.stringify(withSteps(schema))));
  for (const [name, section] of Object.entries(synonyms)) {
    assert.ok(name in schema.properties && section in schema.properties, name);
  }
});

test('every example in the schema is valid', () => {
  const ajv = new Ajv2020({ allowUnionTypes: true, strictRequired: false });
  ajv.addSchema(schema, 'experiment');
  let count = 0;
  const walk = (part: unknown, pointer: string): void => {
    if (typeof part !== 'object' || part === null) return;
    const { examples } = part as { readonly examples?: unknown };
    for (const example of Array.isArray(examples) ? examples : []) {
      count += 1;
      assert.ok(
        ajv.validate({ $ref: `experiment#${pointer}` }, example),
        `${pointer} ${JSON.stringify(example)} ${ajv.errorsText()}`,
      );
    }
    for (const [name, inner] of Object.entries(part))
      if (name !== 'examples') walk(inner, `${pointer}/${name.replaceAll('~', '~0').replaceAll('/', '~1')}`);
  };
  walk(schema, '');
  assert.ok(count > 50, `${count} examples`);
});
