import assert from 'node:assert/strict';
import { test } from 'node:test';
import { bundledIn, shippedOf } from './bill.ts';

const component = (name: string, scope?: string) => ({
  name,
  version: '1.0.0',
  'bom-ref': `pkg:npm/${name}@1.0.0`,
  ...(scope && { scope, properties: [{ name: 'cdx:npm:package:development', value: 'true' }] }),
});

test('a bill leaves out development packages unless they are bundled', () => {
  const shipped = shippedOf(
    {
      metadata: {},
      components: [component('yaml'), component('tsc', 'excluded'), component('preact', 'excluded')],
      dependencies: [
        { ref: 'pkg:npm/yaml@1.0.0', dependsOn: ['pkg:npm/tsc@1.0.0', 'pkg:npm/preact@1.0.0'] },
        { ref: 'pkg:npm/tsc@1.0.0' },
      ],
    },
    new Set(['preact 1.0.0']),
  );
  assert.deepEqual(shipped, {
    metadata: {},
    components: [component('yaml'), component('preact')],
    dependencies: [{ ref: 'pkg:npm/yaml@1.0.0', dependsOn: ['pkg:npm/preact@1.0.0'] }],
  });
});

test('the names of bundled packages are read from the headings of their licences', () => {
  const text =
    'preact 11.2.0 (MIT)\n\nCopyright (c) 2015 (MIT)\n\n---\n\n@grpc/grpc-js 1.14.7 (Apache-2.0)\n\nVersion 2.0\n';
  assert.deepEqual([...bundledIn(text)], ['preact 11.2.0', '@grpc/grpc-js 1.14.7']);
});
