import assert from 'node:assert/strict';
import { test } from 'node:test';
import { isLoopbackHost } from './host.ts';

test('loopback names and addresses are accepted, with or without a port', () => {
  for (const host of ['localhost', 'LOCALHOST:8442', '127.0.0.1', '127.1.2.3:8442', '[::1]', '[::1]:8442'])
    assert.equal(isLoopbackHost(host), true, host);
});

test('every other Host is refused: a page of another site can point its name at this machine', () => {
  const others = [
    undefined,
    '',
    'example.com',
    'example.com:8442',
    'localhost.example.com',
    '127.0.0.1.example.com',
    '127.0.0.1:8442:1',
    '127.1',
    '0177.0.0.1',
    '169.254.169.254',
    '0.0.0.0',
    '::1',
    '[::ffff:127.0.0.1]',
    'a@localhost',
    'localhost:x',
    'localhost:8442/',
  ];
  for (const host of others) assert.equal(isLoopbackHost(host), false, host);
});
