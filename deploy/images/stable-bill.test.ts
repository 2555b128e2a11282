import assert from 'node:assert/strict';
import { test } from 'node:test';
import { stableBill } from './stable-bill.mjs';

const component = (name: string) => ({ name, version: '1', 'bom-ref': `pkg:npm/${name}@1` });

test('two bills of one lockfile are the same, in whatever order pnpm lists packages and whose dependencies it calls our own', () => {
  const first = stableBill({
    serialNumber: 'urn:uuid:1',
    metadata: { timestamp: '2026-01-01T00:00:00Z' },
    components: [component('yaml'), component('long')],
    dependencies: [
      { ref: 'pkg:npm/yaml@1', dependsOn: ['pkg:npm/b@1', 'pkg:npm/a@1'] },
      { ref: 'pkg:npm/%40interlock/disk@1', dependsOn: ['pkg:npm/yaml@1'] },
      { ref: 'pkg:npm/interlock@1' },
    ],
  });
  const second = stableBill({
    serialNumber: 'urn:uuid:2',
    metadata: { timestamp: '2026-01-02T00:00:00Z' },
    components: [component('long'), component('yaml')],
    dependencies: [
      { ref: 'pkg:npm/interlock@1', dependsOn: ['pkg:npm/yaml@1'] },
      { ref: 'pkg:npm/%40interlock/disk@1', dependsOn: [] },
      { ref: 'pkg:npm/yaml@1', dependsOn: ['pkg:npm/a@1', 'pkg:npm/b@1'] },
    ],
  });
  assert.deepEqual(first, second);
  assert.deepEqual(first, {
    metadata: {},
    components: [component('long'), component('yaml')],
    dependencies: [{ ref: 'pkg:npm/yaml@1', dependsOn: ['pkg:npm/a@1', 'pkg:npm/b@1'] }],
  });
});
