import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { allRoutes, fuzzGateway } from '../fuzz/gateway/fuzz.ts';
import { fuzzTarget } from '../fuzz/gateway/target.ts';
import { type AzurePlace, azurePlace } from './test-azure-place.ts';

// Requests by the hundred. In `npm test`, gateway's own tests give each parser its worst input.
let cloud: AzurePlace;
before(async () => {
  cloud = await azurePlace();
});
after(() => cloud?.close());

test('generated requests for every route get no 500, do not hang, and log no error', async () => {
  const { url, names, authority: ca, credential, place } = cloud;
  const { tenant, subscription } = cloud;
  const access = { url, vaultSuffix: names.vaultSuffix, tenant, subscription, clientId: place.credentials.id };
  const target = await fuzzTarget(access, credential);
  // Requests take the routes in turn. `npm run fuzz` sends as many as its time allows.
  const requests = 8 * allRoutes.length;
  const found = await fuzzGateway({ target, ca, requests, seconds: 300, seed: 1, only: undefined });
  assert.deepEqual(found.problems, []);
  assert.deepEqual(cloud.errors, []);
  assert.ok((found.statuses['200'] ?? 0) > requests / 20, JSON.stringify(found.statuses));
});
