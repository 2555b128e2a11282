import assert from 'node:assert/strict';
import { mkdtempSync, rmSync, statSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { systemRandom } from '@interlock/runtime';
import { keepAddress, keptAddress, newAddress } from './kept-address.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-address-'));
after(() => rmSync(folder, { recursive: true }));

test('the address of the last page is kept for its owner alone', () => {
  assert.equal(keptAddress(folder), undefined);
  const address = newAddress(systemRandom, 4_711);
  keepAddress(folder, address);
  assert.deepEqual(keptAddress(folder), address);
  assert.equal(statSync(join(folder, 'page.json')).mode & 0o777, 0o600);
  assert.notEqual(newAddress(systemRandom).token, address.token);
});

test('a kept address with another token or port than pages have is not used', () => {
  for (const text of [
    '{',
    '{}',
    '{"port":0,"token":"x"}',
    `{"port":80,"token":""}`,
    `{"port":80,"token":"${'/'.repeat(32)}"}`,
  ]) {
    writeFileSync(join(folder, 'page.json'), text);
    assert.equal(keptAddress(folder), undefined, text);
  }
});
