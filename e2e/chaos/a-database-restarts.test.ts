import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { after, before, type TestContext, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import connect from 'postgres';
import { until } from '../cloud/until.ts';
import { location, makeMachine, makeWorld, startAgain, type World } from '../cloud/world.ts';
import { judgeIo } from '../oracle/journal/guest-io.ts';
import { readHistory } from '../oracle/journal/history.ts';
import { momentMs } from './chance.ts';
import { type ChaosCloud, startChaosCloud, times } from './chaos-cloud.ts';
import { disabledAt, settled, stopsOf } from './facts.ts';
import { type OwnGuest, startOwnGuest } from './own-guest.ts';
import { livelyOn, notFound } from './returned.ts';
import { ending, slackMs } from './trial.ts';

const machineCount = 100;
/** Creates and starts at once: as many as the two cores keep busy. */
const batch = 20;

/** With compute and its store up; so from when the store is back (G2). Without guests no shutdown takes time. */
const stopWithinMs = times.leaseTtlMs + times.sweepIntervalMs;

let chaos: ChaosCloud;
before(async () => {
  // Machines without a process each: what counts of them is what is decided and stored. I/O is done by guests of our own.
  chaos = await startChaosCloud({ GUEST_DRIVER: 'idle' });
});
after(() => chaos?.stop());

interface Fleet {
  readonly world: World;
  readonly machines: readonly string[];
  /** Beside the key. */
  readonly control: string;
  /** Without a machine: two under the key, then one that is not. */
  readonly disks: readonly string[];
}

const makeFleet = async ({ clients }: ChaosCloud): Promise<Fleet> => {
  const world = await makeWorld(clients, [['platform']]);
  const machines: string[] = [];
  for (let at = 0; at < machineCount; at += batch) {
    const ids = Array.from({ length: batch }, (_, n) => `fleet${at + n}`);
    machines.push(...(await Promise.all(ids.map((id) => makeMachine(clients, world, id, ['STANDARD_SSD'])))));
  }
  const underKey = { type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: world.set } as const;
  const newDisk = async (diskId: string, encryption?: typeof underKey): Promise<string> => {
    const request = { parent: world.group, diskId, location, sku: 'PREMIUM_SSD', sizeGib: 1 } as const;
    return (await clients.disks.createDisk({ ...request, ...(encryption ? { encryption } : {}) })).name;
  };
  const disks = [await newDisk('own-0', underKey), await newDisk('own-1', underKey), await newDisk('own-platform')];
  return { world, machines, control: world.machines[0] ?? '', disks };
};

/** Milliseconds between the response to the revocation and the end of the database. */
for (const usualMs of [0, 60]) {
  const afterMs = momentMs(`database ${usualMs}`, { usualMs, spreadMs: 200 });
  test(`G1, G2, G5, G7: the database of every service is killed ${afterMs} ms into a fan-out over ${machineCount} machines: all end stopped, each once, and all come back`, (t) =>
    loseAndReturn(t, async () => {
      await sleep(afterMs);
      await chaos.kill('postgres');
      await sleep(500);
      await chaos.restart('postgres');
    }));
}

test(`G1, G2, G5, G7: every connection to a database is ended ten times a second through a fan-out over ${machineCount} machines: all end stopped, each once, and all come back`, (t) =>
  loseAndReturn(t, async () => {
    const sql = connect(chaos.cloud.postgres.url('postgres'), { max: 1, onnotice: () => undefined });
    t.after(() => sql.end());
    let ended = 0;
    for (let round = 0; round < 30; round += 1) {
      const rows = await sql`
        select pg_terminate_backend(pid) from pg_stat_activity where application_name = 'interlock'`;
      ended += rows.length;
      await sleep(100);
    }
    t.diagnostic(`${ended} connections ended`);
    assert.ok(ended > 30, 'services had connections to lose');
  }));

/**
 * A fleet loses its key while its services lose their databases: all of it stops, each machine once, its guests within the bound,
 * and all comes back.
 * @param trouble begins once the revocation was answered; resolves when the databases can be reached
 */
const loseAndReturn = async (t: TestContext, trouble: () => Promise<unknown>): Promise<void> => {
  const { clients, guests: folder, cloud } = chaos;
  const { world, machines, control, disks } = await makeFleet(chaos);
  const since = Date.now();
  const history = () => readHistory(folder, disks.map(machineOf));
  let own = await startGuests(disks);
  t.after(async () => {
    await chaos.heal();
    await Promise.all(own.map((guest) => guest.stop()));
  });
  await livelyOn(history, since, disks);

  await clients.keyVault.disableKeyVersion({ name: world.keyVersion });
  await trouble();
  const backAt = Date.now();
  const t0 = await disabledAt(cloud, world.keyVersion);
  await until('every machine of the fleet is stopped by the key', async () => {
    const stopped = await stoppedMachines(world);
    return machines.every((name) => stopped.get(name) === 'KEY_DISABLED');
  });
  const stoppedMs = Date.now() - backAt;
  t.diagnostic(`the whole fleet stopped ${stoppedMs} ms after the database was back (promised ${stopWithinMs})`);
  assert.ok(stoppedMs < stopWithinMs + slackMs, 'in time');
  await sleep(Math.max(0, t0 + times.leaseTtlMs + 500 - Date.now()));
  await settled(clients);
  const stops = await stopsOf(cloud, [...machines, control], since);
  for (const name of machines) assert.deepEqual(stops.get(name), { stopping: 1, stopped: 1 }, name);
  assert.deepEqual(stops.get(control), { stopping: 0, stopped: 0 });

  const reasons = ['KEY_DISABLED', 'KEY_VAULT_UNREACHABLE'];
  const verdict = judgeIo(history(), {
    losses: [{ t0, boundMs: times.leaseTtlMs, disks: disks.slice(0, 2), reasons }],
    undisturbed: [{ disks: disks.slice(2), from: t0, to: Date.now(), gapMsMax: 1_500 }],
    otherReasons: ending,
  });
  t.diagnostic(`last good I/O at t0 + ${verdict.lastGoodMs} ms; ${verdict.refused} refused`);
  assert.deepEqual(verdict.violations.slice(0, 5), []);

  await Promise.all(own.map((guest) => guest.stop()));
  const returnedAt = Date.now();
  await clients.keyVault.enableKeyVersion({ name: world.keyVersion });
  for (let at = 0; at < machineCount; at += batch) {
    await startAgain(clients, world.set, machines.slice(at, at + batch));
  }
  own = await startGuests(disks);
  await livelyOn(history, returnedAt, disks);
  assert.deepEqual(notFound(history(), returnedAt, disks), [], 'guests find all they wrote');
};

/** A guest on each disk of our own; each first checks what earlier ones wrote, as their journal tells. */
const startGuests = async (disks: readonly string[]): Promise<readonly OwnGuest[]> => {
  const authority = readFileSync(chaos.cloud.authorityFile, 'utf8');
  const guests: OwnGuest[] = [];
  for (const disk of disks) {
    const machine = machineOf(disk);
    guests.push(await startOwnGuest(chaos.clients, { disk, machine, folder: chaos.guests, authority }));
  }
  return guests;
};

const machineOf = (disk: string): string => disk.replace('/disks/', '/own-guests/');

/** Machines that are stopped, with the reason they tell. */
const stoppedMachines = async ({ group }: World): Promise<ReadonlyMap<string, string>> => {
  const { virtualMachines } = await chaos.clients.compute.listVirtualMachines({ parent: group, pageSize: 1_000 });
  const stopped = virtualMachines.filter(({ powerState }) => powerState === 'STOPPED');
  return new Map(stopped.map(({ name, stopReason }) => [name, stopReason?.reason ?? '']));
};
