import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type TestCloud, testCloud } from '../cloud/test-cloud.ts';
import { until } from '../cloud/until.ts';
import { makeMachine, makeWorld, startAgain, untilPower, type World } from '../cloud/world.ts';
import { newestRecord, type QemuTraces, tracesOf, whyNoQemu } from './qemu-machines.ts';

const skip = whyNoQemu(process.env) ?? false;
const limit = { timeout: 420_000, skip };
/** Bound of a revocation with these settings, with what a busy machine adds, in milliseconds. */
const boundMs = 12_000;
const bootMs = 150_000;
const workload = { kind: 'WRITE_AND_VERIFY', ioPerSecond: 10, ioSizeBytes: 4_096 } as const;

let place: TestCloud;
let world: World;
const guests = (): string => join(place.folder, 'services/compute/guests');
const osOf = (machine: string): string => machine.replace('virtualMachines', 'disks').concat('-d0');
const dataOf = (machine: string): string => osOf(machine).replace(/0$/, '1');

before(async () => {
  if (skip !== false) return;
  place = await testCloud({
    LEASE_TTL_MS: '4000',
    AUTHZ_TTL_MS: '1000',
    IO_PAUSE_TIMEOUT_MS: '2000',
    SWEEP_INTERVAL_MS: '1000',
    GUEST_BOOT_MS: String(bootMs),
  });
  world = await makeWorld(place.clients, []);
});
after(() => place?.stop());

const make = async (id: string, disks: Parameters<typeof makeMachine>[3]): Promise<[string, QemuTraces]> => {
  const machine = await makeMachine(place.clients, world, id, disks, workload, 'QEMU');
  const traces = tracesOf(guests(), machine);
  await untilWriting(traces, [osOf(machine), dataOf(machine)]);
  return [machine, traces];
};

const readText = (path: string): string => (existsSync(path) ? readFileSync(path, 'utf8') : '');

/** Waits until each disk has three more records. */
const untilWriting = async (traces: QemuTraces, disks: readonly string[]): Promise<void> => {
  const before = disks.map((disk) => newestRecord(traces.journal(), disk));
  await until(
    'records are written',
    async () => disks.every((disk, n) => newestRecord(traces.journal(), disk) >= (before[n] ?? 0) + 3),
    bootMs,
  );
};

const disable = async (): Promise<number> => {
  await place.clients.keyVault.disableKeyVersion({ name: world.keyVersion });
  return Date.now();
};
const enable = () => place.clients.keyVault.enableKeyVersion({ name: world.keyVersion });

test(
  'G1, G3: a machine in QEMU is off when its key is disabled, and has every record when it starts again',
  limit,
  async () => {
    const { clients } = place;
    const [machine, traces] = await make('vm-premium', ['PREMIUM_SSD', 'PREMIUM_SSD']);
    const disks = [osOf(machine), dataOf(machine)];
    const t0 = await disable();
    const off = await untilPower(clients, machine, 'STOPPED');
    assert.ok(Date.now() - t0 < boundMs, `off after ${Date.now() - t0} ms`);
    assert.equal(off.stopCause, 'KEY_LOST');
    assert.equal(traces.pid(), undefined, 'no QEMU is left');
    const before = traces.journal();
    assert.deepEqual(
      before.filter(({ ok, invokedAt }) => ok && invokedAt > t0 + boundMs),
      [],
    );
    const acknowledged = disks.map((disk) => newestRecord(before, disk));

    await enable();
    await startAgain(clients, world.set, [machine]);
    await untilWriting(traces, disks);
    const verified = traces.journal().slice(before.length);
    for (const [n, disk] of disks.entries()) {
      const checks = verified.filter((io) => io.disk === disk && io.op === 'verify');
      assert.equal(checks.length, 2, 'e2fsck of the replayed file system, and the records');
      assert.ok(
        checks.every(({ ok }) => ok),
        JSON.stringify(checks),
      );
      assert.ok((checks[1]?.seq ?? 0) >= (acknowledged[n] ?? 0));
    }
    await clients.compute.powerOffVirtualMachine({ name: machine });
    await untilPower(clients, machine, 'STOPPED');
    assert.doesNotMatch(traces.console(), /I\/O error|EXT4-fs error/);
  },
);

test(
  'CMK-102: a machine in QEMU with ultra disks keeps running without its key, and its restart is refused',
  limit,
  async () => {
    const { clients } = place;
    const [machine, traces] = await make('vm-ultra', ['platform', 'ULTRA']);
    await disable();
    await until('the set has lost its key', async () => {
      const { keyAccess } = await clients.sets.getDiskEncryptionSet({ name: world.set });
      return keyAccess.some(({ state }) => state === 'LOST');
    });
    await untilWriting(traces, [dataOf(machine)]);
    assert.equal((await clients.compute.getVirtualMachine({ name: machine })).powerState, 'RUNNING');
    await clients.compute.powerOffVirtualMachine({ name: machine });
    await untilPower(clients, machine, 'STOPPED');
    await clients.compute.startVirtualMachine({ name: machine });
    const refused = await until('the start is refused', async () => {
      const found = await clients.compute.getVirtualMachine({ name: machine });
      return found.provisioningState === 'FAILED' && found;
    });
    assert.equal(refused.failure?.code, 'KEY_DISABLED');
    await enable();
  },
);

test(
  'G3: a machine in QEMU stops while the vault does not respond, continues after it, and its guest notices no error',
  limit,
  async () => {
    const [machine, traces] = await make('vm-frozen', ['PREMIUM_SSD', 'PREMIUM_SSD']);
    const disks = [osOf(machine), dataOf(machine)];
    place.cloud.pause('key-vault');
    const log = join(guests(), ...machine.split('/'), 'guest.log');
    try {
      await until('the machine is stopped', async () => readText(log).includes('the machine is stopped until'), 40_000);
      await new Promise((resolve) => setTimeout(resolve, 10_000));
    } finally {
      place.cloud.resume('key-vault');
    }
    await untilWriting(traces, disks);
    assert.match(readText(log), /the machine runs again/);
    assert.deepEqual(
      traces.journal().filter(({ ok }) => !ok),
      [],
    );
    assert.equal((await place.clients.compute.getVirtualMachine({ name: machine })).powerState, 'RUNNING');
    assert.doesNotMatch(traces.console(), /I\/O error|EXT4-fs error/);
  },
);
