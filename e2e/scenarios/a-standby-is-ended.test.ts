import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type TestCloud, testCloud } from '../cloud/test-cloud.ts';
import { until } from '../cloud/until.ts';

let cloud: TestCloud;
before(async () => {
  cloud = await testCloud({}, 2);
});
after(() => cloud.stop());

test('a standby of disk that is told to end is known as one no more', async () => {
  const others = async () =>
    (await cloud.clients.messaging('disk').listReplicas({})).replicas.filter(({ state }) => state !== 'WORKING');
  const [first] = await until('one stands by', async () => {
    const found = await others();
    return found.length === 1 && found;
  });
  await cloud.cloud.restart('disk', 1);
  const now = await until('the next one stands by', async () => {
    const found = await others();
    return found.some(({ name, state }) => state === 'STANDBY' && name !== first?.name) && found;
  });
  // One that had only fallen silent would still be shown beside it, and later as gone.
  assert.deepEqual(
    now.map(({ state }) => state),
    ['STANDBY'],
  );
});
