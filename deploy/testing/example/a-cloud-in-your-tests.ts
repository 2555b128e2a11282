import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type InterlockCloud, start } from '@interlock/testing';

/** A test file of your project: one cloud for all of its tests. pack.test.ts compiles and runs it. */
let cloud: InterlockCloud;
before(async () => {
  cloud = await start({ settings: { LEASE_TTL_MS: '5000' } });
  cloud.trust();
});
after(() => cloud?.stop());

test('the gateway of the cloud describes itself to clients', async () => {
  const response = await fetch(`${cloud.endpoints.gateway}/metadata/endpoints?api-version=2022-09-01`);
  assert.equal(response.status, 200);
});

test('a vault has a URL, and programs that the test starts get theirs from variables', () => {
  const { hostname } = new URL(cloud.endpoints.vault('kv1'));
  assert.match(hostname, /^kv1\./);
  assert.equal(cloud.env.GATEWAY_URL, cloud.endpoints.gateway);
});
