import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { mkdirSync, mkdtempSync, rmSync, writeFileSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { finder, searchFiles } from './search.ts';

const dek = randomBytes(32);

test('finds a key in binary, hexadecimal and base64, at any place', () => {
  const contains = finder({ dek });
  const around = (middle: Buffer | string) =>
    Buffer.concat([Buffer.from('abc'), Buffer.from(middle), Buffer.from('xyz')]);
  for (const spelling of [dek, dek.toString('hex'), dek.toString('base64'), dek.toString('base64url')]) {
    assert.deepEqual([...contains(around(spelling))], ['dek']);
    assert.deepEqual([...contains(Buffer.from(spelling))], ['dek'], 'at the very beginning');
  }
  assert.deepEqual([...contains(around(Buffer.from(dek).reverse()))], []);
  assert.deepEqual([...contains(around(dek.subarray(0, 31)))], []);
  assert.deepEqual([...contains(Buffer.alloc(0))], []);
});

test('searches every file below a folder', (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'interlock-search-'));
  t.after(() => rmSync(folder, { recursive: true }));
  mkdirSync(join(folder, 'a/b'), { recursive: true });
  writeFileSync(join(folder, 'a/b/log'), `{"key":"${dek.toString('base64')}"}`);
  writeFileSync(join(folder, 'clean'), 'nothing');
  assert.deepEqual(searchFiles(folder, { dek }), {
    files: 2,
    bytes: 7 + 8 + 44 + 2,
    finds: [{ file: 'a/b/log', label: 'dek' }],
  });
});
