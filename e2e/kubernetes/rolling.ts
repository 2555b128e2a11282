import assert from 'node:assert/strict';
import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ServiceName } from '@interlock/local/services.ts';
import { openOutside } from '../cloud/clients.ts';
import { until } from '../cloud/until.ts';
import { makeWorld, startAgain, untilPower, type World } from '../cloud/world.ts';
import { type Io, journalReader } from '../rehearsal/evidence/journal.ts';
import { type Forwarder, startForwarder } from './forwarder.ts';
import { type PodCloud, untilReady } from './pod-cloud.ts';

/** What a rolling update showed: times in milliseconds. */
export interface RollingOutcome {
  /** From SIGTERM to the end of the process, under load, by service. */
  readonly drainMs: Readonly<Record<string, number>>;
  /** From the commit that took the key away to the last acknowledged read or write under it. */
  readonly lastAckMs: number;
  /** The same to the last machine that was off. */
  readonly stoppedMs: number;
  /** Operations of the guests that were not concerned while stateless services were replaced; none of them failed. */
  readonly operations: number;
  /** The disk host: from SIGTERM to its successor being ready, and the longest operation meanwhile; none failed. */
  readonly disk: { readonly goneMs: number; readonly longestMs: number; readonly operations: number };
}

/** What Kubernetes gives a pod to end (base/*.yaml), in seconds. */
const GRACE_SECONDS = 45;
/** `LEASE_TTL_MS`: no acknowledgement may come later after a loss. */
const BOUND_MS = 60_000;
const GRPC_PORT = 7400;

/** Stateless services: a second pod is ready before the first one is told to stop. */
const replaced = ['identity', 'key-vault', 'disk-encryption-set'] as const;

/**
 * Replaces identity, key-vault and disk-encryption-set as a rolling update does, while guests read and write, and takes a key
 * away in the middle of it. Then disk and compute, which are hosts: one after the other, with a gap, which the I/O of guests
 * waits out in the one case and machines end with in the other.
 * @throws AssertionError naming the promise that was broken
 */
export const rollEverything = async (cloud: PodCloud, say: (line: string) => void): Promise<RollingOutcome> => {
  const forwarders = new Map<ServiceName, Forwarder>();
  for (const [name, { ip }] of cloud.services) forwarders.set(name, await startForwarder(ip, GRPC_PORT));
  const addressOf = (name: ServiceName): string => forwarders.get(name)?.address ?? assert.fail(`no way to ${name}`);
  const outside = openOutside({
    addresses: {
      identity: addressOf('identity'),
      'key-vault': addressOf('key-vault'),
      'disk-encryption-set': addressOf('disk-encryption-set'),
      disk: addressOf('disk'),
      compute: addressOf('compute'),
    },
    ...secretsFor(cloud),
  });
  const clients = outside.administrator;
  const drainMs: Record<string, number> = {};
  try {
    const lost = await makeWorld(clients, [['PREMIUM_SSD'], ['STANDARD_SSD']]);
    const kept = await makeWorld(clients, [['PREMIUM_SSD', 'STANDARD_HDD'], ['platform']]);
    const guests = join(await cloud.volumeFolder('data-compute-0'), 'guests');
    const journals = (world: World) => {
      const read = journalReader(guests, world.machines);
      return () => Object.values(read()).flat();
    };
    const [ofLost, ofKept] = [journals(lost), journals(kept)];
    await until('guests write', async () => ofKept().filter(isWrite).length > 20);
    const since = Date.now();

    let t0 = 0;
    for (const name of replaced) {
      const before = cloud.services.get(name) ?? assert.fail(`${name} does not run`);
      const next = await cloud.podman.play(cloud.pod(cloud.workload(name)), '-next');
      await untilReady(name, next);
      forwarders.get(name)?.to(next.ip);
      if (name === 'key-vault') {
        t0 = Date.now();
        await clients.keyVault.disableKeyVersion({ name: lost.keyVersion });
      }
      const { exitCode, tookMs } = await before.stop(GRACE_SECONDS);
      assert.equal(exitCode, 0, `${name} did not end by itself:\n${await before.logs()}`);
      drainMs[name] = tookMs;
      await before.remove();
      cloud.services.set(name, next);
      say(`${name}: replaced; the old one ended in ${tookMs} ms`);
    }

    await Promise.all(lost.machines.map((name) => untilPower(clients, name, 'STOPPED', BOUND_MS + 30_000)));
    const stoppedMs = Date.now() - t0;
    const lastAckMs =
      Math.max(
        ...ofLost()
          .filter(({ ok, op }) => ok && op !== 'flush')
          .map(({ completedAt }) => completedAt),
      ) - t0;
    assert.ok(lastAckMs <= BOUND_MS, `an acknowledgement came ${lastAckMs} ms after the key was lost`);
    const meanwhile = ofKept().filter(({ invokedAt }) => invokedAt >= since);
    const failed = meanwhile.filter(({ ok }) => !ok);
    assert.deepEqual(
      failed.slice(0, 3),
      [],
      `${failed.length} of ${meanwhile.length} operations failed during a rolling update`,
    );
    assert.ok(meanwhile.filter(isWrite).length > 50, 'the guests wrote all along');

    await clients.keyVault.enableKeyVersion({ name: lost.keyVersion });
    await startAgain(clients, lost.set, lost.machines);
    say(`the key is back, and its ${lost.machines.length} machines run`);

    const diskGoesAt = Date.now();
    drainMs.disk = await restartHost(cloud, 'disk', forwarders);
    const diskBackAt = Date.now();
    await until('guests write again after their disk host was replaced', async () =>
      ofKept().some((io) => isWrite(io) && io.invokedAt > diskBackAt),
    );
    for (const name of kept.machines) assert.equal((await untilPower(clients, name, 'RUNNING')).powerState, 'RUNNING');
    const around = ofKept().filter(({ completedAt }) => completedAt >= diskGoesAt);
    const disk = {
      goneMs: diskBackAt - diskGoesAt,
      longestMs: Math.max(...around.map(({ invokedAt, completedAt }) => completedAt - invokedAt)),
      operations: around.length,
    };
    assert.deepEqual(
      around.filter(({ ok }) => !ok),
      [],
      'a host that is replaced is waited for: its I/O is slow and does not fail',
    );
    say(
      `disk: replaced in place in ${disk.goneMs} ms (it ended in ${drainMs.disk} ms); machines ran on, ` +
        `the longest of ${disk.operations} operations took ${disk.longestMs} ms`,
    );

    drainMs.compute = await restartHost(cloud, 'compute', forwarders);
    const ended = await Promise.all(kept.machines.map((name) => untilPower(clients, name, 'STOPPED', BOUND_MS)));
    for (const { stopCause } of ended)
      assert.equal(stopCause, 'HOST_RESTARTED', "nobody takes it for the guest's doing");
    const startedAt = Date.now();
    await Promise.all(kept.machines.map((name) => clients.compute.startVirtualMachine({ name })));
    await Promise.all(kept.machines.map((name) => untilPower(clients, name, 'RUNNING')));
    await until('what was written is there', async () =>
      ofKept().some(({ op, invokedAt }) => op === 'verify' && invokedAt > startedAt),
    );
    await sleep(2_000);
    const wrong = [...ofKept(), ...ofLost()].filter(({ reason }) => reason === 'CONTENT_MISMATCH');
    assert.deepEqual(wrong, [], 'every byte that was acknowledged is there');
    say(
      `compute: replaced in place; it ended in ${drainMs.compute} ms, machines were started again and found their data`,
    );
    return { drainMs, lastAckMs, stoppedMs, operations: meanwhile.length, disk };
  } finally {
    outside.close();
    for (const forwarder of forwarders.values()) forwarder.close();
  }
};

const isWrite = ({ op, ok }: Io): boolean => op === 'write' && ok;

/** A host goes before its successor comes: the volume is one. @returns how long it took to end */
const restartHost = async (
  cloud: PodCloud,
  name: 'disk' | 'compute',
  forwarders: ReadonlyMap<ServiceName, Forwarder>,
): Promise<number> => {
  const before = cloud.services.get(name) ?? assert.fail(`${name} does not run`);
  const { exitCode, tookMs } = await before.stop(GRACE_SECONDS);
  assert.equal(exitCode, 0, `${name} did not end by itself:\n${await before.logs()}`);
  await before.remove();
  const next = await cloud.podman.play(cloud.pod(cloud.workload(name)));
  forwarders.get(name)?.to(next.ip);
  await untilReady(name, next);
  cloud.services.set(name, next);
  return tookMs;
};

/** The administrator and the client's certificate, from the Secrets of the cluster. */
const secretsFor = ({ cluster }: PodCloud) => {
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
