import assert from 'node:assert/strict';
import { existsSync, readFileSync } from 'node:fs';
import { join } from 'node:path';
import { after, before, test } from 'node:test';
import { type TestCloud, testCloud, withTelemetry } from '../cloud/test-cloud.ts';
import { until } from '../cloud/until.ts';
import { makeMachine, makeWorld, untilPower, type World } from '../cloud/world.ts';
import { type QemuTraces, tracesOf, whyNoQemu } from './qemu-machines.ts';
import { dataOf, loseAndRegain, osOf, untilRecords } from './rounds.ts';

// Boots Linux for each test. In `npm test`, services/compute/src/qemu/qemu-guests.test.ts runs machines in QEMU without a system.
const skip = whyNoQemu(process.env) ?? false;
const limit = { timeout: 420_000, skip };
/** Bound of a revocation with these settings, with a margin for a busy machine, in milliseconds. */
const boundMs = 12_000;
const bootMs = 150_000;
const workload = { kind: 'WRITE_AND_VERIFY', ioPerSecond: 10, ioSizeBytes: 4_096 } as const;

let place: TestCloud;
let world: World;
const guests = (): string => join(place.folder, 'services/compute/guests');

before(async () => {
  if (skip !== false) return;
  place = await testCloud({
    ...withTelemetry,
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

const untilWriting = (traces: QemuTraces, disks: readonly string[]): Promise<void> =>
  untilRecords(traces, disks, bootMs);

const disable = async (): Promise<number> => {
  await place.clients.keyVault.disableKeyVersion({ name: world.keyVersion });
  return Date.now();
};
const enable = () => place.clients.keyVault.enableKeyVersion({ name: world.keyVersion });

test(
  'G1, G3: a machine in QEMU goes off when its key is disabled, and has every record after it is started again',
  limit,
  async () => {
    const [machine, traces] = await make('vm-premium', ['PREMIUM_SSD', 'PREMIUM_SSD']);
    const { stoppedMs, lateMs } = await loseAndRegain({ clients: place.clients, world, machine, traces, bootMs });
    assert.ok(stoppedMs < boundMs, `off after ${stoppedMs} ms`);
    assert.ok(lateMs < boundMs, `a record was written ${lateMs} ms after the key was disabled`);
    await place.clients.compute.powerOffVirtualMachine({ name: machine });
    await untilPower(place.clients, machine, 'STOPPED');
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
  'G3: a machine in QEMU is paused while the vault is unreachable, continues after it, and its guest sees no error',
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
