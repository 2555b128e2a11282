import assert from 'node:assert/strict';
import { test } from 'node:test';
import { readRsaSpeed } from './openssl-speed.ts';

const output = `version: 3.5.9
                   sign    verify    encrypt   decrypt   sign/s verify/s  encr./s  decr./s
rsa  2048 bits 0.000107s 0.000007s 0.000008s 0.000110s   9345.5 142857.0 125000.0   9080.0
                               keygen    encaps    decaps keygens/s  encaps/s  decaps/s
                    rsa2048 0.028633s 0.000015s 0.000220s      34.9   65551.5    4538.0
`;

test('reads the speed of decrypt and encrypt from the right columns', () => {
  assert.deepEqual(readRsaSpeed(output, 2048), { decrypt: 9080, encrypt: 125_000 });
});

test('a table without the size is an error that shows the table', () => {
  assert.throws(() => readRsaSpeed(output, 4096), /no line for rsa4096[\s\S]*version: 3\.5\.9/);
});
