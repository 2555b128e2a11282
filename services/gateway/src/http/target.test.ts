import assert from 'node:assert/strict';
import { test } from 'node:test';
import { refuseControlCharacters, routerTarget } from './target.ts';

const names = { gateway: 'https://localhost:8443', vaultSuffix: 'vault.interlock.localhost:8443' };
const target = (host: string, url: string) => routerTarget(names as Parameters<typeof routerTarget>[0], host, url);

test('double and trailing slashes are removed, and the query stays as it is', () => {
  assert.equal(target('localhost:8443', '//subscriptions/?api%2Dversion=1'), '/~gateway/subscriptions?api%2Dversion=1');
  assert.equal(target('localhost:8443', '/a//b/'), '/~gateway/a/b');
  assert.equal(target('kv1.vault.interlock.localhost:8443', '/keys/k/?a=b?c'), '/~vault/kv1/keys/k?a=b?c');
});

test('a host that is neither the gateway nor a vault reaches no route', () => {
  for (const host of [
    '',
    'example.com',
    'kv1.vault.interlock.localhost',
    'a.b.vault.interlock.localhost:8443',
    '../kv1.vault.interlock.localhost:8443',
  ]) {
    assert.equal(target(host, '/keys'), '/~unknown/keys', host);
  }
});

test('no path on the host of the gateway reaches a route of a vault', () => {
  assert.equal(target('localhost:8443', '/~vault/kv1/keys'), '/~gateway/~vault/kv1/keys');
  assert.equal(target('LOCALHOST:8443', '/../~vault/kv1'), '/~gateway/../~vault/kv1');
});

test('a segment with a control character is refused before any handler sees it', () => {
  for (const name of ['\0', 'a\nb', '\x7f'])
    assert.throws(() => refuseControlCharacters({ group: 'g', name }), { status: 400, code: 'InvalidRequestContent' });
  refuseControlCharacters({ group: 'g', name: 'ü (1)' });
});
