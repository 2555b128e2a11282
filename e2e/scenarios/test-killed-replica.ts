import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before } from 'node:test';
import type { ActivityLogEntry } from '@interlock/contracts/interlock/compute/v1/activity_log.ts';
import { readHistory } from '@interlock/lab/judge/journal/history';
import type { ServiceName } from '@interlock/local/services.ts';
import { livelyOn, notFound } from '../cloud/returned.ts';
import { type TestCloud, testCloud } from '../cloud/test-cloud.ts';
import { until } from '../cloud/until.ts';
import { makeWorld, startAgain, untilPower, type World } from '../cloud/world.ts';

/** A cloud with two processes of each service, and machines under a key; the last under the platform's. */
interface ReplicatedWorld {
  readonly cloud: TestCloud;
  readonly world: World;
}

/** One for the test file: it is started before the tests, and stopped after them. */
export const replicatedWorld = (): (() => ReplicatedWorld) => {
  let opened: ReplicatedWorld;
  before(async () => {
    const cloud = await testCloud({}, 2);
    const kinds = ['PREMIUM_SSD', 'STANDARD_SSD', 'PREMIUM_SSD', 'STANDARD_SSD'] as const;
    try {
      opened = { cloud, world: await makeWorld(cloud.clients, [...kinds.map((kind) => [kind]), ['platform']]) };
    } catch (error) {
      // Otherwise its processes keep that of the test alive.
      await cloud.stop();
      throw error;
    }
  });
  after(() => opened?.cloud.stop());
  return () => opened;
};

/** The stops of a machine by the platform because of a key, one row for each. */
const stopsOf = async (cloud: TestCloud, name: string): Promise<readonly ActivityLogEntry[]> => {
  const rows: ActivityLogEntry[] = [];
  let pageToken = '';
  do {
    const page = await cloud.clients.compute.listActivityLog({ name, pageSize: 100, pageToken });
    rows.push(...page.entries);
    pageToken = page.nextPageToken;
  } while (pageToken !== '');
  return rows.filter(({ category, status }) => category === 'RESOURCE_HEALTH' && status === 'ACTIVE');
};

/** Kills a replica while a key is disabled. Machines stop once, start again when the key is back, and find every byte. */
export const killDuringRevocation = async (
  { cloud, world }: ReplicatedWorld,
  service: ServiceName,
  victim: 0 | 1,
): Promise<void> => {
  const { clients } = cloud;
  const machines = world.machines.slice(0, -1);
  const control = world.machines.at(-1) ?? '';
  const lost = machines.map((_, n) => `${world.group}/disks/vm${n}-d0`);
  const history = () => readHistory(join(cloud.folder, 'services', 'compute', 'guests'), machines);
  await livelyOn(history, 0, lost);
  const stopsBefore = await Promise.all(machines.map(async (name) => (await stopsOf(cloud, name)).length));
  const disabled = clients.keyVault.disableKeyVersion({ name: world.keyVersion });
  await cloud.cloud.kill(service, victim);
  const isAnswered = await disabled.then(
    () => true,
    () => false,
  );
  // No process is restarted here: only the other replica is left. A call that was cut off is repeated.
  if (!isAnswered) {
    await until('the key is disabled', async () => {
      await clients.keyVault.disableKeyVersion({ name: world.keyVersion });
      return true;
    });
  }
  for (const name of machines) {
    const { stopReason } = await untilPower(clients, name, 'STOPPED');
    assert.equal(stopReason?.reason, 'KEY_DISABLED', name);
  }
  // The other replica has taken over the work partitions: it consumes every partition without lag.
  await until(`the other replica of ${service} has no consumer lag`, async () => {
    const { consumers } = await clients.messaging(service).listConsumers({});
    return consumers.every(({ receivedElsewhere, gap }) => !receivedElsewhere && gap === 0);
  });
  const isOneGone = async (): Promise<boolean> => {
    const { replicas: known } = await clients.messaging(service).listReplicas({});
    return known.some(({ state }) => state === 'GONE');
  };
  await until(`the other replica of ${service} lists the killed one as GONE`, isOneGone);
  const from = Date.now();
  await clients.keyVault.enableKeyVersion({ name: world.keyVersion });
  await startAgain(clients, world.set, machines);
  await livelyOn(history, from, lost);
  assert.deepEqual(notFound(history(), from, lost), [], 'guests find all they wrote');
  await cloud.cloud.restart(service, victim);
  await until(`no replica of ${service} is listed as GONE`, async () => !(await isOneGone()));
  for (const [n, name] of machines.entries()) {
    const stops = await stopsOf(cloud, name);
    assert.equal(stops.length - (stopsBefore[n] ?? 0), 1, `${name}: ${JSON.stringify(stops)}`);
  }
  // A killed disk host lost the DEKs in its memory; the other machine continues when the host is back.
  await until('the control machine runs', async () => {
    const machine = await clients.compute.getVirtualMachine({ name: control });
    assert.notEqual(machine.stopReason?.reason, 'KEY_DISABLED');
    return machine.powerState === 'RUNNING';
  });
};
