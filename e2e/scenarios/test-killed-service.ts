import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before } from 'node:test';
import { readHistory } from '@interlock/lab/judge/journal/history';
import type { ServiceName } from '@interlock/local/services.ts';
import { livelyOn, notFound } from '../cloud/returned.ts';
import { type TestCloud, testCloud } from '../cloud/test-cloud.ts';
import { until } from '../cloud/until.ts';
import { makeWorld, startAgain, untilPower, type World } from '../cloud/world.ts';

/** One cloud for the test file, with machines under a key, the last under the platform's. @returns kills a service while the key is disabled */
export const killedServices = (): ((service: ServiceName) => Promise<void>) => {
  let cloud: TestCloud;
  let world: World;
  before(async () => {
    cloud = await testCloud();
    world = await makeWorld(cloud.clients, [['PREMIUM_SSD'], ['platform', 'STANDARD_SSD'], ['platform']]);
  });
  after(() => cloud?.stop());
  return (service) => killDuringRevocation(cloud, world, service);
};

const killDuringRevocation = async (cloud: TestCloud, world: World, service: ServiceName): Promise<void> => {
  const { clients } = cloud;
  const [premium = '', mixed = '', control = ''] = world.machines;
  const lost = ['vm0-d0', 'vm1-d1'].map((disk) => `${world.group}/disks/${disk}`);
  const history = () => readHistory(join(cloud.folder, 'services', 'compute', 'guests'), world.machines);
  await livelyOn(history, 0, lost);
  const disabled = clients.keyVault.disableKeyVersion({ name: world.keyVersion });
  // The kill comes at any point of the fan-out: before the commit, between two services, or during a stop.
  await cloud.cloud.kill(service);
  // A call that was cut off is repeated, as its caller does. The second call has no effect.
  const outcome = await disabled.then(
    () => 'answered',
    () => 'cut off',
  );
  await cloud.cloud.restart(service);
  if (outcome === 'cut off') {
    await until('the key is disabled', async () => {
      await clients.keyVault.disableKeyVersion({ name: world.keyVersion });
      return true;
    });
  }
  for (const name of [premium, mixed]) {
    const stopped = await untilPower(clients, name, 'STOPPED');
    assert.equal(stopped.stopReason?.reason, 'KEY_DISABLED', name);
  }

  const from = Date.now();
  await clients.keyVault.enableKeyVersion({ name: world.keyVersion });
  await startAgain(clients, world.set, [premium, mixed]);
  await livelyOn(history, from, lost);
  assert.deepEqual(notFound(history(), from, lost), [], 'guests find all they wrote');
  // A killed disk service lost the DEKs in its memory; the other machine continues, or its user starts it again.
  await until('the control machine runs', async () => {
    const machine = await clients.compute.getVirtualMachine({ name: control });
    assert.notEqual(machine.stopReason?.reason, 'KEY_DISABLED');
    if (machine.powerState === 'STOPPED') await clients.compute.startVirtualMachine({ name: control });
    return machine.powerState === 'RUNNING';
  });
};
