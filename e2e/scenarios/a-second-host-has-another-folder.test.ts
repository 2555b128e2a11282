import assert from 'node:assert/strict';
import { mkdirSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { readHistory } from '@interlock/lab/judge/journal/history';
import { freePort } from '@interlock/local/free-port.ts';
import { type ServiceProcess, startService } from '@interlock/local/processes.ts';
import { entryOf } from '@interlock/local/services.ts';
import { systemClock } from '@interlock/runtime';
import { findGuest } from '../../services/compute/src/guests/guest-process.ts';
import { type Outside, openOutside } from '../cloud/clients.ts';
import { livelyOn } from '../cloud/returned.ts';
import { type TestCloud, testCloud } from '../cloud/test-cloud.ts';
import { until } from '../cloud/until.ts';
import { makeWorld, untilPower, type World } from '../cloud/world.ts';

/** A second pod of a StatefulSet: the same settings and store, its own volume. */
interface SecondPod {
  readonly process: ServiceProcess;
  /** host:port on which it serves, once it does. */
  readonly address: string;
  readonly readiness: () => Promise<readonly [number, unknown]>;
}

let cloud: TestCloud;
let world: World;
const started: ServiceProcess[] = [];
before(async () => {
  cloud = await testCloud({ SHARE_TTL_MS: '1000', SWEEP_INTERVAL_MS: '500' });
  world = await makeWorld(cloud.clients, [['PREMIUM_SSD'], ['STANDARD_SSD'], ['platform']]);
});
after(async () => {
  for (const process of started) await process.stop();
  await cloud.stop();
});

/** The folder of the service's own host. */
const homeOf = (service: 'compute' | 'disk'): string => join(cloud.folder, 'services', service);

const startSecond = async (
  service: 'compute' | 'disk',
  settings: Readonly<Record<string, string>> = {},
): Promise<SecondPod> => {
  const name = `${service}-second`;
  const home = join(cloud.folder, name);
  mkdirSync(home, { recursive: true });
  const [port, probes] = [await freePort(), await freePort()];
  const own = readFileSync(`/proc/${cloud.cloud.pid(service)}/environ`, 'utf8').split('\0');
  const env = Object.fromEntries(
    own.map((line) => [line.slice(0, line.indexOf('=')), line.slice(line.indexOf('=') + 1)]),
  );
  const process = await startService({
    name,
    entry: entryOf(service),
    env: {
      ...env,
      DATA_FOLDER: home,
      REPLICA_NAME: name,
      SERVICE_ADDRESS: `127.0.0.1:${port}`,
      PROBE_ADDRESS: `127.0.0.1:${probes}`,
      ...settings,
    },
    logFile: join(cloud.folder, 'logs', `${name}.log`),
    onCrash: ({ message }) => assert.fail(message),
  });
  started.push(process);
  return {
    process,
    address: `localhost:${port}`,
    readiness: async () => {
      const response = await fetch(`http://127.0.0.1:${probes}/readyz`);
      return [response.status, await response.json()];
    },
  };
};

/** Clients of the cloud with one service at another address. */
const seenAt = (service: 'compute' | 'disk', address: string): Outside => {
  const { addresses, administrator, authorityFile } = cloud.cloud;
  return openOutside({ addresses: { ...addresses, [service]: address }, administrator, authorityFile });
};

const refusedReplica = (service: 'compute' | 'disk', outside = cloud.outside) =>
  until(`a process of ${service} reports that it has another folder`, async () => {
    const { replicas } = await outside.administrator.messaging(service).listReplicas({});
    return replicas.some(({ state }) => state === 'OTHER_HOST_FOLDER');
  });

/** Clients that find both pods (Services publish addresses of hosts that are not ready) always call the host itself. */
const reachesTheHost = async (
  service: 'compute' | 'disk',
  { address }: SecondPod,
  call: (administrator: Outside['administrator']) => Promise<unknown>,
): Promise<void> => {
  const both = seenAt(service, `${cloud.cloud.addresses[service]},${address}`);
  for (let round = 0; round < 20; round += 1) await call(both.administrator);
  both.close();
};

const disksOf = (n: number): string => `${world.group}/disks/vm${n}-d0`;
const history = () => readHistory(join(homeOf('compute'), 'guests'), world.machines);
const guestsIn = (folder: string) =>
  world.machines.flatMap((vm) => findGuest(join(folder, 'guests', ...vm.split('/')), systemClock) ?? []);

test('G3: a second compute with another host folder is not ready, gives the reason, and stops no machine', async () => {
  const second = await startSecond('compute');
  assert.equal(second.process.isReady, false);
  assert.deepEqual(await second.readiness(), [503, { host_folder: false }]);
  await refusedReplica('compute');
  const log = readFileSync(join(cloud.folder, 'logs', 'compute-second.log'), 'utf8');
  assert.match(log, /not ready: the host of this service has another folder.*OTHER_HOST_FOLDER/);
  // During this much work a ready replica would have taken work partitions and swept several times.
  const from = Date.now();
  for (let round = 0; round < 8; round += 1)
    await livelyOn(
      history,
      Date.now(),
      world.machines.map((_, n) => disksOf(n)),
    );
  assert.deepEqual(
    history().filter(({ ok, invokedAt }) => !ok && invokedAt >= from),
    [],
  );
  for (const name of world.machines) {
    assert.equal((await cloud.clients.compute.getVirtualMachine({ name })).powerState, 'RUNNING');
  }
  const outside = seenAt('compute', second.address);
  await assert.rejects(outside.administrator.compute.getVirtualMachine({ name: world.machines[0] ?? '' }), {
    code: 'UNAVAILABLE',
  });
  outside.close();
  await reachesTheHost('compute', second, (at) => at.compute.getVirtualMachine({ name: world.machines[0] ?? '' }));
  await second.process.stop();
  assert.equal(guestsIn(homeOf('compute')).length, world.machines.length);
});

test('a second disk with another host folder is not ready and serves nothing, and machines keep running', async () => {
  const second = await startSecond('disk');
  assert.equal(second.process.isReady, false);
  assert.deepEqual(await second.readiness(), [503, { host_folder: false }]);
  await refusedReplica('disk');
  const outside = seenAt('disk', second.address);
  const request = { name: disksOf(0), accessLevel: 'READ', durationSeconds: 60 } as const;
  await assert.rejects(outside.administrator.disks.beginAccess(request), { code: 'UNAVAILABLE' });
  await assert.rejects(outside.administrator.disks.getDisk(request), { code: 'UNAVAILABLE' });
  outside.close();
  await reachesTheHost('disk', second, (at) => at.disks.getDisk(request));
  await livelyOn(
    history,
    Date.now(),
    world.machines.map((_, n) => disksOf(n)),
  );
  await second.process.stop();
});

test('after an operator gives up a host folder, a new host takes over; the old host and its guests end', async () => {
  const lost = readFileSync(join(homeOf('compute'), 'guests', 'folder-id'), 'utf8').trim();
  const orphans = guestsIn(homeOf('compute'));
  assert.equal(orphans.length, world.machines.length);
  const first = cloud.cloud.pid('compute');
  const second = await startSecond('compute', { LOST_FOLDER_ID: lost });
  assert.equal(second.process.isReady, true);
  await until('the old host has ended', async () => !isAlive(first));
  const outside = seenAt('compute', second.address);
  for (const name of world.machines) {
    const { stopCause } = await untilPower(outside.administrator, name, 'STOPPED');
    assert.equal(stopCause, 'HOST_RESTARTED');
  }
  await cloud.cloud.restart('compute');
  await refusedReplica('compute', outside);
  await Promise.all(orphans.map(({ ended }) => ended));
  assert.deepEqual(guestsIn(homeOf('compute')), []);
  const [name = ''] = world.machines;
  await outside.administrator.compute.startVirtualMachine({ name });
  await untilPower(outside.administrator, name, 'RUNNING');
  outside.close();
});

const isAlive = (pid: number): boolean => {
  try {
    return process.kill(pid, 0);
  } catch {
    return false;
  }
};
