import assert from 'node:assert/strict';
import { generateKeyPairSync, randomBytes } from 'node:crypto';
import { closeSync, mkdtempSync, openSync, rmSync, writeFileSync, writeSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { filesBelow, searchPlaces } from './places.ts';
import { searchMemory } from './process-memory.ts';
import { createScanner } from './scanner.ts';

const dek = randomBytes(32);
const scanner = createScanner([{ name: 'dek', bytes: dek }]);
const formsIn = (content: Uint8Array | string): readonly string[] => [
  ...new Set(scanner.scan(Buffer.from(content)).map(({ form }) => form)),
];
const around = (middle: Uint8Array): Buffer => Buffer.concat([randomBytes(101), middle, randomBytes(57)]);

test('G8: finds a secret in every encoding', () => {
  const number = BigInt(`0x${dek.toString('hex')}`);
  const planted: Readonly<Record<string, Uint8Array | string>> = {
    raw: around(dek),
    backwards: around(Buffer.from(dek).reverse()),
    hex: `{"key":"${dek.toString('hex')}"}`,
    'hex with colons': dek
      .toString('hex')
      .toUpperCase()
      .replace(/..(?!$)/g, '$&:'),
    base64: dek.toString('base64'),
    base64url: `"${dek.toString('base64url')}"`,
    'list of bytes': JSON.stringify({ type: 'Buffer', data: [...dek] }),
    'decimal number': `p = ${number}`,
  };
  for (const [form, content] of Object.entries(planted)) assert.ok(formsIn(content).includes(form), form);
  assert.ok(formsIn(JSON.stringify({ dek: [...dek] }, undefined, 2).replaceAll(/\s+(?=\d)/g, '\n')).length > 0);
  assert.ok(formsIn(`bytea \\x${dek.toString('hex').toUpperCase()}`).includes('hex'));
});

test('G8: finds a secret inside larger base64 content, at every offset', () => {
  for (let before = 0; before < 6; before += 1) {
    const blob = Buffer.concat([randomBytes(before), dek, randomBytes(7)]);
    assert.ok(formsIn(blob.toString('base64')).length > 0, `base64 after ${before}`);
    assert.ok(formsIn(blob.toString('base64url')).length > 0, `base64url after ${before}`);
  }
});

test('G8: finds a secret that is half overwritten', () => {
  for (const [from, to] of [
    [0, 16],
    [16, 32],
  ] as const) {
    const part = Buffer.from(dek);
    part.fill(0, from, to);
    assert.deepEqual(formsIn(around(part)), ['raw']);
  }
});

test('G8: finds every number of a private key in its PEM, DER and JWK', () => {
  const { privateKey } = generateKeyPairSync('rsa', { modulusLength: 2048 });
  const jwk = privateKey.export({ format: 'jwk' });
  const names = ['d', 'p', 'q', 'dp', 'dq', 'qi'] as const;
  const secrets = names.map((name) => ({ name, bytes: Buffer.from(String(jwk[name]), 'base64url') }));
  const all = createScanner(secrets);
  const found = (content: Uint8Array | string) =>
    [...new Set(all.scan(Buffer.from(content)).map(({ name }) => name))].sort();
  assert.deepEqual(found(JSON.stringify(jwk)), [...names].sort());
  assert.deepEqual(found(privateKey.export({ type: 'pkcs8', format: 'der' })), [...names].sort());
  const pem = privateKey.export({ type: 'pkcs8', format: 'pem' }).toString();
  assert.deepEqual(found(pem), [...names].sort());
  assert.deepEqual(found(JSON.stringify(pem)), [...names].sort(), 'with escaped line ends');
});

test('G8: reports nothing in random bytes, and refuses secrets that are too short', () => {
  assert.deepEqual(formsIn(randomBytes(4 * 1024 * 1024)), []);
  assert.deepEqual(formsIn(''), []);
  assert.deepEqual(formsIn(dek.subarray(0, 8)), []);
  assert.throws(() => createScanner([{ name: 'short', bytes: randomBytes(15) }]), /too few/);
});

test('G8: finds a secret in the memory of a process', () => {
  const kept = randomBytes(32);
  const own = createScanner([{ name: 'kept', bytes: kept }]);
  const { finds, bytes } = searchMemory(process.pid, own);
  assert.ok(finds.some(({ name, form }) => name === 'kept' && form === 'raw'));
  assert.ok(bytes > 1024 * 1024);
});

test('G8: finds a secret anywhere in a file, also behind a hole', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'interlock-holes-'));
  t.after(() => rmSync(folder, { recursive: true }));
  writeFileSync(join(folder, 'log'), around(dek));
  const volume = openSync(join(folder, 'volume'), 'w');
  writeSync(volume, dek, 0, dek.length, 2 ** 30 - 57);
  closeSync(volume);
  const { leaks } = await searchPlaces(scanner, filesBelow(folder, scanner.overlap));
  assert.deepEqual([...new Set(leaks.map(({ place }) => place))].sort(), ['file log', 'file volume']);
});
