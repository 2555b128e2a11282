import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readdirSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, beforeEach, test } from 'node:test';
import { systemClock as clock, logger } from '@interlock/runtime';
import { readGuestFile } from '../guest/plan.ts';
import { GuestDriver } from '../guests/guest-driver.ts';
import { type GuestDisk, GuestStartError } from '../guests/vm-host.ts';
import { until } from '../testing/test-cloud.ts';
import { type FakeMode, fakeQemu } from './test-fake-qemu.ts';

const limit = { timeout: 180_000 };
const vm = 'subscriptions/s/resourceGroups/g/virtualMachines/vm1';
const folder = mkdtempSync(join(tmpdir(), 'interlock-qemu-guests-'));
const home = join(folder, ...vm.split('/'));
const fake = fakeQemu();
beforeEach(() => fake.mode('boots'));
after(async () => {
  await driver().stop(vm, { graceMs: 0 });
  rmSync(folder, { recursive: true, force: true });
  fake.remove();
});

const driver = (
  changes: { readonly path?: string; readonly imageFolder?: string; readonly responseMs?: number } = {},
) => {
  const { path = fake.path, imageFolder = fake.imageFolder, responseMs = 60_000 } = changes;
  return new GuestDriver({
    ...{ folder, tls: 'plaintext', parentPid: process.pid, node: process.execPath, clock },
    env: { PATH: path },
    qemu: { imageFolder, memoryMib: 64, cpus: 1, bootMs: 120_000, responseMs },
    log: logger({ service: 'test', clock, write: () => {} }),
  });
};
const disk = (name: string, lun: number, changes: Partial<GuestDisk> = {}): GuestDisk => ({
  ...{ disk: `disks/${name}`, lun, isOs: name === 'os', sizeBytes: 2 ** 30, dataAddress: '' },
  ...{ nbdAddress: fake.nbdAddress, accessToken: `secret-${name}`, isContinued: false, ...changes },
});
const workload = { kind: 'IDLE', ioPerSecond: 1, ioSizeBytes: 4_096 } as const;
const plan = { machineId: 'm1', guest: 'QEMU', disks: [disk('os', 0), disk('a', 1)], workload } as const;
const started = async (mode: FakeMode, own = driver()): Promise<GuestDriver> => {
  fake.mode(mode);
  await own.start(vm, plan);
  return own;
};
const textOf = (file: string): string => (existsSync(join(home, file)) ? readFileSync(join(home, file), 'utf8') : '');
const qemuPid = (): number => Number(textOf('qemu.pid'));
const isGone = (pid: number): boolean => !existsSync(`/proc/${pid}`) || textOfProc(pid) === '';
const textOfProc = (pid: number): string => {
  try {
    return readFileSync(`/proc/${pid}/cmdline`, 'utf8');
  } catch {
    return '';
  }
};
const untilEnded = (own: GuestDriver) =>
  until(
    () => own.isRunning(vm),
    (isRunning) => !isRunning,
  );

test(
  'a machine in QEMU outlives its service, takes and releases disks while it runs, and shuts down when asked',
  limit,
  async () => {
    await started('boots');
    const second = driver();
    assert.equal(await second.isRunning(vm), true);
    await second.attach(vm, disk('b', 2));
    await second.detach(vm, 'disks/a');
    await until(
      async () => textOf('guest.applied'),
      (generation) => generation === '3',
    );
    assert.deepEqual(
      readGuestFile(join(home, 'guest.json')).disks.map(({ disk: name }) => name),
      ['disks/os', 'disks/b'],
    );
    await second.stop(vm, { graceMs: 60_000 });
    assert.equal(await second.isRunning(vm), false);
    assert.equal(textOf('guest.log').includes('the guest shut down'), true);
  },
);

test('G8: the tokens of a machine in QEMU are in no command line', limit, async () => {
  const own = await started('boots');
  const commands = readdirSync('/proc')
    .filter((name) => /^\d+$/.test(name))
    .map((pid) => textOfProc(Number(pid)));
  assert.ok(commands.some((command) => command.includes(home)));
  assert.deepEqual(
    commands.filter((command) => command.includes('secret-os')),
    [],
  );
  await own.stop(vm, { graceMs: 0 });
});

test(
  'a failed start gives its reason: no QEMU, no image, no block device, a refused disk, or a kernel panic',
  limit,
  async () => {
    const failure = async (own: GuestDriver, disks: readonly GuestDisk[] = plan.disks): Promise<string> => {
      const error = await own.start(vm, { ...plan, disks }).catch((thrown: unknown) => thrown);
      assert.ok(error instanceof GuestStartError, String(error));
      await own.stop(vm, { graceMs: 0 });
      return error.message;
    };
    assert.match(
      await failure(driver({ path: '/nowhere' })),
      /qemu-system-x86_64 is not installed.*install the package qemu-system-x86/,
    );
    assert.match(
      await failure(driver({ imageFolder: '/nowhere' })),
      /no vmlinux in \/nowhere: run npx interlock image build/,
    );
    assert.match(
      await failure(driver(), [disk('os', 0, { nbdAddress: '' })]),
      /serves disks\/os as no block device.*NBD_LISTEN/,
    );
    fake.mode('refuses disks');
    assert.match(await failure(driver()), /QEMU refused blockdev-add: access is denied/);
    fake.mode('panics');
    assert.match(
      await failure(driver()),
      /the guest reset itself; its console printed: interlock: no OS disk appeared/,
    );
  },
);

test(
  'a QEMU that is killed, does not respond, or closes its QMP connection ends its machine with that reason',
  limit,
  async () => {
    const endOf = async (mode: FakeMode, harm: (pid: number) => void, own = driver()): Promise<string | undefined> => {
      await started(mode, own);
      const pid = qemuPid();
      harm(pid);
      await untilEnded(own);
      assert.ok(isGone(pid), 'no QEMU is left');
      const { end, detail } = await own.endOf(vm);
      assert.equal(end, 'GUEST_ENDED');
      await own.stop(vm, { graceMs: 0 });
      return detail;
    };
    assert.equal(await endOf('boots', (pid) => process.kill(pid, 'SIGKILL')), 'QEMU was ended by SIGKILL.');
    const impatient = driver({ responseMs: 15_000 });
    assert.match(
      (await endOf('boots', (pid) => process.kill(pid, 'SIGSTOP'), impatient)) ?? '',
      /QEMU did not respond to query-status within 15000 ms/,
    );
    assert.match((await endOf('closes QMP', () => undefined)) ?? '', /QEMU closed its QMP connection/);
  },
);

test('QEMU ends when the process that holds it is killed', limit, async () => {
  const own = await started('boots');
  const pid = qemuPid();
  process.kill(Number(textOf('guest.pid')), 'SIGKILL');
  await untilEnded(own);
  assert.ok(isGone(pid));
  await own.stop(vm, { graceMs: 0 });
});

test('G1: an access loss ends a machine in QEMU at once, without a shutdown', limit, async () => {
  const own = await started('ignores the power button');
  const pid = qemuPid();
  await own.stop(vm, { graceMs: 10 * limit.timeout, isKeyLost: true });
  assert.ok(isGone(pid));
});

test('QEMU stops a machine whose disk request fails, and continues it once requests succeed', limit, async () => {
  const own = await started('freezes');
  await until(
    async () => textOf('guest.log'),
    (log) => log.includes('the machine runs again'),
  );
  assert.match(
    textOf('guest.log'),
    /a write of os failed: Input\/output error\n.*the machine is stopped until its disks serve requests again/,
  );
  assert.equal(await own.isRunning(vm), true);
  await own.stop(vm, { graceMs: 0 });
});

test('an idle machine has no process, and is on until it is stopped', limit, async () => {
  const own = driver();
  await own.start(vm, { ...plan, guest: 'IDLE' });
  assert.equal(existsSync(join(home, 'guest.pid')), false);
  assert.equal(await driver().isRunning(vm), true, 'also after a restart of the service');
  await own.attach(vm, disk('b', 2));
  await own.stop(vm, { graceMs: 60_000 });
  assert.equal(await own.isRunning(vm), false);
});
