import assert from 'node:assert/strict';
import { test } from 'node:test';
import { systemRandom } from './random.ts';

const count = 10_000;
const uuids = Array.from({ length: count }, () => systemRandom.uuid());

test('UUIDs have version 4, are in lower case and differ', () => {
  for (const uuid of uuids) {
    assert.match(uuid, /^[0-9a-f]{8}-[0-9a-f]{4}-4[0-9a-f]{3}-[89ab][0-9a-f]{3}-[0-9a-f]{12}$/);
  }
  assert.equal(new Set(uuids).size, count);
});

test('each random bit of a UUID is set in about half of the UUIDs', () => {
  const ofForm = new Set([48, 49, 50, 51, 64, 65]);
  const all = uuids.map((uuid) => Buffer.from(uuid.replaceAll('-', ''), 'hex'));
  for (let bit = 0; bit < 128; bit += 1) {
    if (ofForm.has(bit)) continue;
    const set = all.filter((bytes) => ((bytes[bit >> 3] ?? 0) & (0x80 >> (bit & 7))) !== 0).length;
    // Ten standard deviations.
    assert.ok(Math.abs(set - count / 2) < 5 * Math.sqrt(count), `bit ${bit} is set in ${set} of ${count}`);
  }
});
