import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import { openHistory } from '@interlock/lab/judge/journal/history';
import type { Io } from '@interlock/lab/judge/journal/journal';
import { eachService, type ServiceName, serviceNames } from '@interlock/local/services.ts';
import { type Clients, openOutside } from '../cloud/clients.ts';
import { until } from '../cloud/until.ts';
import { makeWorld, startAgain, untilPower, type World } from '../cloud/world.ts';
import { type Forwarder, startForwarder } from './forwarder.ts';
import { type PodCloud, untilReady } from './pod-cloud.ts';
import type { RunningPod } from './podman.ts';

/** Times of a rolling update, in milliseconds. */
export interface RollingOutcome {
  /** From SIGTERM to the end of the process, under load, by service. */
  readonly drainMs: Readonly<Record<string, number>>;
  /** From the disabled key to the last acknowledged read or write under it. */
  readonly lastAckMs: number;
  /** From the disabled key to the last stopped machine. */
  readonly stoppedMs: number;
  /** Operations of the other guests while stateless services were replaced. None failed. */
  readonly operations: number;
  /** The disk host: from SIGTERM until its successor is ready, and the longest operation in that time. None failed. */
  readonly disk: { readonly goneMs: number; readonly longestMs: number; readonly operations: number };
}

/** How long Kubernetes allows a pod to end (base/*.yaml), in seconds. */
const GRACE_SECONDS = 45;
/** `LEASE_TTL_MS`: no acknowledgement may come later after a loss. */
const BOUND_MS = 60_000;
/** Where a service serves, in its pod. */
export const GRPC_PORT = 7400;

/** Stateless services: a second pod is ready before the first one gets SIGTERM. */
const stateless = ['identity', 'key-vault', 'disk-encryption-set'] as const;

/**
 * Replaces identity, key-vault and disk-encryption-set as a rolling update does, while guests read and write, and disables a key
 * during that. Then replaces disk and compute, which are hosts, with a gap: guest I/O waits for the disk host, and machines
 * stop with compute.
 * @throws AssertionError with the broken guarantee
 */
export const rollEverything = async (cloud: PodCloud, print: (line: string) => void): Promise<RollingOutcome> => {
  const forwarders = new Map<ServiceName, Forwarder>();
  for (const name of serviceNames) forwarders.set(name, await startForwarder(podOf(cloud, name).ip, GRPC_PORT));
  const addresses = eachService((name) => forwarders.get(name)?.address ?? assert.fail(`${name} has no address`));
  const outside = openOutside({ addresses, ...secretsFor(cloud) });
  const clients = outside.administrator;
  try {
    const lost = await makeWorld(clients, [['PREMIUM_SSD'], ['STANDARD_SSD']]);
    const kept = await makeWorld(clients, [['PREMIUM_SSD', 'STANDARD_HDD'], ['platform']]);
    const guests = join(await cloud.volumeFolder('data-compute-0'), 'guests');
    const journals = { lost: openHistory(guests, lost.machines), kept: openHistory(guests, kept.machines) };
    const roll: Roll = { cloud, clients, forwarders, lost, kept, journals, drainMs: {}, print };
    await until('guests write', async () => journals.kept().filter(isWrite).length > 20);
    const times = await rollStateless(roll);
    await clients.keyVault.enableKeyVersion({ name: lost.keyVersion });
    await startAgain(clients, lost.set, lost.machines);
    print(`access is restored, and ${lost.machines.length} machines run`);
    const disk = await rollDisk(roll);
    await rollCompute(roll);
    return { drainMs: roll.drainMs, ...times, disk };
  } finally {
    outside.close();
    for (const forwarder of forwarders.values()) forwarder.close();
  }
};

const podOf = ({ services }: PodCloud, name: ServiceName): RunningPod =>
  services.get(name) ?? assert.fail(`${name} does not run`);

/** A rolling update in progress. */
interface Roll {
  readonly cloud: PodCloud;
  readonly clients: Clients;
  readonly forwarders: ReadonlyMap<ServiceName, Forwarder>;
  /** Its key is disabled. */
  readonly lost: World;
  readonly kept: World;
  readonly journals: { readonly lost: () => readonly Io[]; readonly kept: () => readonly Io[] };
  readonly drainMs: Record<string, number>;
  readonly print: (line: string) => void;
}

const rollStateless = async (roll: Roll): Promise<Pick<RollingOutcome, 'lastAckMs' | 'stoppedMs' | 'operations'>> => {
  const { cloud, clients, forwarders, lost, journals } = roll;
  const since = Date.now();
  let disabledAt = 0;
  for (const name of stateless) {
    const before = podOf(cloud, name);
    const next = await cloud.podman.play(cloud.pod(cloud.workload(name)), '-next');
    await untilReady(name, next);
    forwarders.get(name)?.to(next.ip);
    if (name === 'key-vault') {
      disabledAt = Date.now();
      await clients.keyVault.disableKeyVersion({ name: lost.keyVersion });
    }
    const tookMs = await stopCleanly(name, before);
    roll.drainMs[name] = tookMs;
    cloud.services.set(name, next);
    roll.print(`${name}: replaced; the old one ended in ${tookMs} ms`);
  }
  await Promise.all(lost.machines.map((name) => untilPower(clients, name, 'STOPPED', BOUND_MS + 30_000)));
  const stoppedMs = Date.now() - disabledAt;
  const acknowledged = journals.lost().filter(({ ok, op }) => ok && op !== 'flush');
  const lastAckMs = Math.max(...acknowledged.map(({ completedAt }) => completedAt)) - disabledAt;
  assert.ok(lastAckMs <= BOUND_MS, `an acknowledgement came ${lastAckMs} ms after the key was disabled`);
  const meanwhile = journals.kept().filter(({ invokedAt }) => invokedAt >= since);
  const failed = meanwhile.filter(({ ok }) => !ok);
  const message = `${failed.length} of ${meanwhile.length} operations failed during a rolling update`;
  assert.deepEqual(failed.slice(0, 3), [], message);
  assert.ok(meanwhile.filter(isWrite).length > 50, 'the guests wrote all the time');
  return { lastAckMs, stoppedMs, operations: meanwhile.length };
};

const rollDisk = async (roll: Roll): Promise<RollingOutcome['disk']> => {
  const { clients, kept, journals } = roll;
  const stoppedAt = Date.now();
  roll.drainMs.disk = await restartHost(roll, 'disk');
  const backAt = Date.now();
  await until('guests write after their disk host was replaced', async () =>
    journals.kept().some((io) => isWrite(io) && io.invokedAt > backAt),
  );
  for (const name of kept.machines) assert.equal((await untilPower(clients, name, 'RUNNING')).powerState, 'RUNNING');
  const around = journals.kept().filter(({ completedAt }) => completedAt >= stoppedAt);
  const failed = around.filter(({ ok }) => !ok);
  assert.deepEqual(failed, [], 'I/O waits for a host that is replaced: it is slow and does not fail');
  const goneMs = backAt - stoppedAt;
  const longestMs = Math.max(...around.map(({ invokedAt, completedAt }) => completedAt - invokedAt));
  roll.print(
    `disk: replaced in place in ${goneMs} ms (it ended in ${roll.drainMs.disk} ms); machines kept running, ` +
      `the longest of ${around.length} operations took ${longestMs} ms`,
  );
  return { goneMs, longestMs, operations: around.length };
};

const rollCompute = async (roll: Roll): Promise<void> => {
  const { clients, kept, journals } = roll;
  roll.drainMs.compute = await restartHost(roll, 'compute');
  const stopped = await Promise.all(kept.machines.map((name) => untilPower(clients, name, 'STOPPED', BOUND_MS)));
  for (const { stopCause } of stopped) assert.equal(stopCause, 'HOST_RESTARTED');
  const startedAt = Date.now();
  await Promise.all(kept.machines.map((name) => clients.compute.startVirtualMachine({ name })));
  await Promise.all(kept.machines.map((name) => untilPower(clients, name, 'RUNNING')));
  await until('a guest verifies what it wrote', async () =>
    journals.kept().some(({ op, invokedAt }) => op === 'verify' && invokedAt > startedAt),
  );
  await sleep(2_000);
  const wrong = [...journals.kept(), ...journals.lost()].filter(({ reason }) => reason === 'CONTENT_MISMATCH');
  assert.deepEqual(wrong, [], 'every acknowledged byte is there');
  const ended = `it ended in ${roll.drainMs.compute} ms`;
  roll.print(`compute: replaced in place; ${ended}, machines were started again and found their data`);
};

const isWrite = ({ op, ok }: Io): boolean => op === 'write' && ok;

/** Stops a host before its successor starts, because they share one volume. @returns how long it took to end */
const restartHost = async ({ cloud, forwarders }: Roll, name: 'disk' | 'compute'): Promise<number> => {
  const tookMs = await stopCleanly(name, podOf(cloud, name));
  const next = await cloud.podman.play(cloud.pod(cloud.workload(name)));
  forwarders.get(name)?.to(next.ip);
  await untilReady(name, next);
  cloud.services.set(name, next);
  return tookMs;
};

/**
 * Stops a pod with SIGTERM and removes it.
 * @param graceSeconds `terminationGracePeriodSeconds` of the pod
 * @returns how long it took to end, in milliseconds
 * @throws AssertionError if it did not end by itself
 */
export const stopCleanly = async (name: string, pod: RunningPod, graceSeconds = GRACE_SECONDS): Promise<number> => {
  const { exitCode, tookMs } = await pod.stop(graceSeconds);
  const log = await pod.logs();
  assert.equal(exitCode, 0, `${name} did not end by itself:\n${log}`);
  for (const line of log.split('\n').filter((one) => one.includes('took long to close'))) console.log(line);
  await pod.remove();
  return tookMs;
};

/** The administrator and the client's certificate, from the Secrets of the cluster. */
export const secretsFor = ({ cluster }: PodCloud) => {
  const value = (secret: string, key: string): string =>
    Buffer.from(cluster.secrets.get(secret)?.[key] ?? '', 'base64').toString();
  const file = (key: string): string => {
    const path = join(cluster.folder, `client-${key}`);
    writeFileSync(path, value('interlock-tls-client', key), { mode: 0o600 });
    return path;
  };
  return {
    administrator: JSON.parse(value('interlock-administrator', 'administrator.json')),
    authorityFile: file('ca.crt'),
    client: { certificateFile: file('tls.crt'), keyFile: file('tls.key') },
  };
};
