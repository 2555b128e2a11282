import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type TestCloud, testCloud } from '../cloud/test-cloud.ts';
import { until } from '../cloud/until.ts';

let cloud: TestCloud;
before(async () => {
  cloud = await testCloud({}, 2);
});
after(() => cloud.stop());

test('a standby of disk that ends with SIGTERM is removed from the list of replicas', async () => {
  const others = async () =>
    (await cloud.clients.messaging('disk').listReplicas({})).replicas.filter(({ state }) => state !== 'WORKING');
  const standingBy = () =>
    until('one stands by', async () => {
      const found = await others();
      return found.length === 1 && found[0]?.state === 'STANDBY' && found;
    });
  const [first] = await standingBy();
  const number = Number(first?.name.split('-').at(-1));
  process.kill(cloud.cloud.pid('disk', number), 'SIGTERM');
  // A replica that only stopped responding would still be listed, and later as GONE.
  await until('no standby is left', async () => (await others()).length === 0);
  await cloud.cloud.restart('disk', number);
  const [next] = await standingBy();
  assert.equal(next?.name, first?.name);
});
