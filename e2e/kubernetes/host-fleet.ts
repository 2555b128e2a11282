import assert from 'node:assert/strict';
import { join } from 'node:path';
import { openHistory } from '@interlock/lab/judge/journal/history';
import { eachService } from '@interlock/local/services.ts';
import { type Clients, openOutside, tlsInto } from '../cloud/clients.ts';
import { type DataPath, openDataPath } from '../cloud/data-path.ts';
import { until } from '../cloud/until.ts';
import { makeWorld, untilPower, type World } from '../cloud/world.ts';
import { readBack, type WritesFound } from './acknowledged-writes.ts';
import { type Forwarder, startForwarder } from './forwarder.ts';
import { type HostPods, startHostPods } from './host-pods.ts';
import type { PodCloud } from './pod-cloud.ts';
import { GRPC_PORT, secretsFor, stopCleanly } from './rolling.ts';

/** What was measured, times in milliseconds. */
export interface HostFleetOutcome {
  /** From the end of the one disk host until host `disk-0` and all others serve. */
  readonly adoptionMs: number;
  /** Machines and disks that left a host while their machines wrote, and how long that took. */
  readonly drains: Readonly<Record<string, number>>;
  /** From the end of a pod until its host is shown as unreachable. */
  readonly unreachableMs: Readonly<Record<string, number>>;
  /** From SIGTERM of a VM host until its machines run elsewhere and it has ended. */
  readonly leftMs: number;
  /** After all of it. None is lost. */
  readonly writes: Pick<WritesFound, 'disks' | 'writes' | 'bytes'>;
}

/** How many acknowledged writes are there before the first change: each guest writes to 64 places of a disk in turn. */
const writesMin = 100;

/** How long one step may take on a busy machine, in milliseconds. */
const STEP_MS = 240_000;

/** What each guest does. */
const workload = { kind: 'WRITE_AND_VERIFY', ioPerSecond: 10, ioSizeBytes: 4096 } as const;

/**
 * Goes over from one host of disks and of guests to several, with the volumes and journals of before, as
 * docs/how-to/deploy-on-kubernetes.md says; then more and fewer hosts while machines write: with a drain, and without.
 * @throws AssertionError with the broken guarantee
 */
export const exerciseHosts = async (cloud: PodCloud, print: (line: string) => void): Promise<HostFleetOutcome> => {
  const forwarders = new Map<string, Forwarder>();
  for (const [name, { ip }] of cloud.services) forwarders.set(name, await startForwarder(ip, GRPC_PORT));
  const secrets = secretsFor(cloud);
  const outside = openOutside({
    addresses: eachService((name) => forwarders.get(name)?.address ?? assert.fail(name)),
    ...secrets,
  });
  const clients = outside.administrator;
  let pods: HostPods | undefined;
  const reachedAt = (address: string): string => (pods ?? assert.fail('no hosts yet')).reachedAt(address);
  const data = openDataPath(tlsInto(secrets), undefined, reachedAt);
  try {
    const world = await makeWorld(clients, [['PREMIUM_SSD'], ['PREMIUM_SSD', 'STANDARD_SSD']], { workload });
    const guests = join(await cloud.volumeFolder('data-compute-0'), 'guests');
    const before = openHistory(guests, world.machines);
    await until('guests write', async () => before().filter(({ op, ok }) => op === 'write' && ok).length > writesMin);
    const since = performance.now();
    await stopMachines(clients, world.machines);
    for (const name of ['compute', 'disk'] as const) {
      await stopCleanly(name, cloud.services.get(name) ?? assert.fail(name));
      cloud.services.delete(name);
    }
    pods = await startHostPods(cloud, print);
    for (const name of ['disk', 'compute'] as const) forwarders.get(name)?.to(pods.controlIp[name]);
    const fleet: Fleet = { cloud, clients, data, pods, print, worlds: [world] };
    await fleet.pods.scale('disk-host', 3);
    await fleet.pods.scale('vm-host', 2);
    const adoptionMs = Math.round(performance.now() - since);
    await adopted(fleet);
    const drains = await moreAndFewer(fleet);
    const leftMs = await leavesWithoutDrain(fleet);
    const unreachableMs = await unreachableAndBack(fleet);
    const { disks, writes, bytes } = await nothingLost(fleet);
    return { adoptionMs, drains, unreachableMs, leftMs, writes: { disks, writes, bytes } };
  } catch (error) {
    for (const line of (await pods?.errors()) ?? []) print(line);
    throw error;
  } finally {
    data.close();
    outside.close();
    pods?.close();
    for (const forwarder of forwarders.values()) forwarder.close();
  }
};

/** Hosts under exercise. */
interface Fleet {
  readonly cloud: PodCloud;
  readonly clients: Clients;
  readonly data: DataPath;
  readonly pods: HostPods;
  readonly print: (line: string) => void;
  readonly worlds: World[];
}

const machinesOf = ({ worlds }: Fleet): readonly string[] => worlds.flatMap(({ machines }) => machines);

/** Every byte of before is at host `disk-0`, and its machines start at VM hosts. */
const adopted = async (fleet: Fleet): Promise<void> => {
  const { clients, print } = fleet;
  await until('all hosts serve', async () => {
    const { diskHosts } = await clients.disks.listDiskHosts({});
    const { vmHosts } = await clients.compute.listVmHosts({});
    return [...diskHosts, ...vmHosts].filter(({ liveness }) => liveness === 'SERVING').length === 6;
  });
  const { disks, writes, bytes } = await found(fleet);
  for (const name of [...(await disksOf(fleet)).values()].flat())
    assert.equal((await clients.disks.getDisk({ name })).diskHost, 'diskHosts/disk-0');
  print(`adopted: ${writes} acknowledged writes of ${disks} disks are at disk-0 (${bytes} bytes read)`);
  await startMachines(clients, machinesOf(fleet));
};

/** 2 -> 4 -> 2 VM hosts and 3 -> 4 -> 3 disk hosts, and the end of `disk-0`, while machines write. */
const moreAndFewer = async (fleet: Fleet): Promise<Readonly<Record<string, number>>> => {
  const { clients, pods, worlds, print } = fleet;
  await pods.scale('vm-host', 4);
  await pods.scale('disk-host', 4);
  await until('the new hosts serve', async () => {
    const { vmHosts } = await clients.compute.listVmHosts({});
    const { diskHosts } = await clients.disks.listDiskHosts({});
    // Four of each, and disk-0.
    return [...diskHosts, ...vmHosts].filter(({ liveness }) => liveness === 'SERVING').length === 9;
  });
  const [used, vmUsed] = [new Set<string>(), new Set<string>()];
  // A new set is on a new disk host once in five times: with 40 sets all but once in 7,000 runs.
  for (let made = 0; made < 40 && !(used.has('diskHosts/disk-host-3') && vmUsed.size >= 4); made += 1) {
    worlds.push(await makeWorld(clients, [['PREMIUM_SSD']], { workload }));
    for (const name of [...(await disksOf(fleet)).values()].flat())
      used.add((await clients.disks.getDisk({ name })).diskHost);
    for (const name of machinesOf(fleet)) vmUsed.add((await clients.compute.getVirtualMachine({ name })).vmHost);
  }
  assert.ok(used.has('diskHosts/disk-host-3'), `new disks are on ${[...used].join(', ')}`);
  assert.equal(vmUsed.size, 4, `machines are on ${[...vmUsed].join(', ')}`);
  print(`${machinesOf(fleet).length} machines on ${vmUsed.size} VM hosts and ${used.size} disk hosts`);
  const drains: Record<string, number> = {};
  for (const host of ['vm-host-3', 'vm-host-2']) drains[host] = await drained(clients.compute, 'VmHost', host);
  for (const host of ['disk-host-3', 'disk-0']) drains[host] = await drained(clients.disks, 'DiskHost', host);
  for (const name of machinesOf(fleet)) await untilPower(clients, name, 'RUNNING', STEP_MS);
  print(
    `drained: ${Object.entries(drains)
      .map(([host, ms]) => `${host} in ${ms} ms`)
      .join(', ')}`,
  );
  await pods.scale('vm-host', 2);
  await pods.scale('disk-host', 3);
  await pods.scale('disk', 0);
  for (const host of ['vm-host-3', 'vm-host-2'])
    await until(`${host} is deleted`, () => clients.compute.deleteVmHost({ name: `vmHosts/${host}` }));
  for (const host of ['disk-host-3', 'disk-0'])
    await until(`${host} is deleted`, () => clients.disks.deleteDiskHost({ name: `diskHosts/${host}` }));
  return drains;
};

/** Drains a host. @returns how long it took, in milliseconds */
const drained = async <Kind extends 'VmHost' | 'DiskHost'>(
  client: Kind extends 'VmHost' ? Clients['compute'] : Clients['disks'],
  kind: Kind,
  host: string,
): Promise<number> => {
  const since = performance.now();
  const look = async () => {
    if (kind === 'VmHost') return (client as Clients['compute']).getVmHost({ name: `vmHosts/${host}` });
    return (client as Clients['disks']).getDiskHost({ name: `diskHosts/${host}` });
  };
  if (kind === 'VmHost') await (client as Clients['compute']).drainVmHost({ name: `vmHosts/${host}` });
  else await (client as Clients['disks']).drainDiskHost({ name: `diskHosts/${host}` });
  await until(`${host} is DRAINED`, async () => (await look()).state === 'DRAINED', STEP_MS);
  return Math.round(performance.now() - since);
};

/** A VM host that ends without a drain: its machines run elsewhere before it has ended. */
const leavesWithoutDrain = async ({ clients, pods, ...fleet }: Fleet): Promise<number> => {
  const machines = machinesOf({ clients, pods, ...fleet });
  const at = async () =>
    (await Promise.all(machines.map((name) => clients.compute.getVirtualMachine({ name })))).filter(
      ({ vmHost, powerState }) => vmHost === 'vmHosts/vm-host-1' && powerState === 'RUNNING',
    );
  assert.ok((await at()).length > 0, 'vm-host-1 has machines');
  const since = performance.now();
  await pods.scale('vm-host', 1);
  const leftMs = Math.round(performance.now() - since);
  for (const name of machines) {
    const { vmHost } = await untilPower(clients, name, 'RUNNING', STEP_MS);
    assert.equal(vmHost, 'vmHosts/vm-host-0');
  }
  await pods.scale('vm-host', 2);
  return leftMs;
};

/** Hosts that are away without a drain are unreachable, as the alerts see; back with their claims, they have everything. */
const unreachableAndBack = async (fleet: Fleet): Promise<Readonly<Record<string, number>>> => {
  const { clients, pods } = fleet;
  const unreachableMs: Record<string, number> = {};
  const hosts = [
    [
      'disk',
      'interlock_disk_host_serving',
      'disk-host-2',
      async () => clients.disks.getDiskHost({ name: 'diskHosts/disk-host-2' }),
    ],
    [
      'compute',
      'interlock_vm_host_serving',
      'vm-host-0',
      async () => clients.compute.getVmHost({ name: 'vmHosts/vm-host-0' }),
    ],
  ] as const;
  for (const [control, gauge, host, look] of hosts) {
    const since = performance.now();
    await pods.kill(host);
    await until(`${host} is UNREACHABLE`, async () => (await look()).liveness === 'UNREACHABLE');
    await until(`${gauge} of ${host} is 0`, async () => (await pods.gauge(control, gauge, host)) === 0);
    unreachableMs[host] = Math.round(performance.now() - since);
    assert.equal((await look()).state, 'OPEN', 'unreachable is not lost');
    await pods.start(host);
    await until(`${host} serves again`, async () => (await look()).liveness === 'SERVING');
    await until(`${gauge} of ${host} is 1`, async () => (await pods.gauge(control, gauge, host)) === 1);
  }
  return unreachableMs;
};

/** Stops all machines, and reads back what their guests wrote, at every host. */
const nothingLost = async (fleet: Fleet): Promise<WritesFound> => {
  await stopMachines(fleet.clients, machinesOf(fleet));
  const all = await found(fleet);
  fleet.print(`${all.writes} acknowledged writes of ${all.disks} disks: none lost (${all.bytes} bytes read)`);
  return all;
};

const found = async ({ cloud, clients, data, ...fleet }: Fleet): Promise<WritesFound> => {
  const guests = async (claim: string): Promise<string> => join(await cloud.volumeFolder(claim), 'guests');
  const ofHosts = [0, 1, 2, 3].map(async (n) => ({ path: await guests(`data-vm-host-${n}`), vmHost: `vm-host-${n}` }));
  const there = (await Promise.allSettled(ofHosts)).flatMap((one) => (one.status === 'fulfilled' ? [one.value] : []));
  const folders = [{ path: await guests('data-compute-0') }, ...there];
  const all = await readBack({ clients, data }, folders, await disksOf({ cloud, clients, data, ...fleet }));
  assert.deepEqual(all.lost, []);
  assert.ok(all.writes > writesMin, 'the guests wrote');
  return all;
};

const disksOf = async (fleet: Fleet): Promise<ReadonlyMap<string, readonly string[]>> =>
  new Map(
    await Promise.all(
      machinesOf(fleet).map(async (name) => {
        const { osDisk, dataDisks } = await fleet.clients.compute.getVirtualMachine({ name });
        return [name, [...(osDisk ? [osDisk.disk] : []), ...dataDisks.map(({ disk }) => disk)]] as const;
      }),
    ),
  );

const stopMachines = async (clients: Clients, machines: readonly string[]): Promise<void> => {
  await Promise.all(
    machines.map(async (name) => {
      await until(`${name} is deallocated`, () => clients.compute.deallocateVirtualMachine({ name }));
      await untilPower(clients, name, 'DEALLOCATED', STEP_MS);
    }),
  );
};

const startMachines = async (clients: Clients, machines: readonly string[]): Promise<void> => {
  await Promise.all(
    machines.map(async (name) => {
      await clients.compute.startVirtualMachine({ name });
      const { powerState, failure } = await until(
        `${name} has started`,
        async () => {
          const machine = await clients.compute.getVirtualMachine({ name });
          return machine.powerState !== 'STARTING' && machine;
        },
        STEP_MS,
      );
      assert.equal(powerState, 'RUNNING', `${name}: ${failure?.code} ${failure?.message}`);
    }),
  );
};
