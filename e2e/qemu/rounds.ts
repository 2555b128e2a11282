import assert from 'node:assert/strict';
import type { Clients } from '../cloud/clients.ts';
import { until } from '../cloud/until.ts';
import { startAgain, untilPower, type World } from '../cloud/world.ts';
import { newestRecord, type QemuTraces } from './qemu-machines.ts';

/** The OS disk and the first data disk of a machine from `makeMachine`, by full names. */
export const osOf = (machine: string): string => machine.replace('virtualMachines', 'disks').concat('-d0');
export const dataOf = (machine: string): string => osOf(machine).replace(/0$/, '1');

/** Waits until each disk has three more records. */
export const untilRecords = async (traces: QemuTraces, disks: readonly string[], limitMs: number): Promise<void> => {
  const before = disks.map((disk) => newestRecord(traces.journal(), disk));
  await until(
    'records are written',
    async () => disks.every((disk, n) => newestRecord(traces.journal(), disk) >= (before[n] ?? 0) + 3),
    limitMs,
  );
};

/** Durations of a round, in milliseconds. */
export interface Round {
  /** From the call that disables the key until the machine is stopped. */
  readonly stoppedMs: number;
  /** From that call until the last record of the guest was on stable storage; 0 if none was later. */
  readonly lateMs: number;
  /** From the first process of the machine after its start until the first record. */
  readonly bootMs: number;
  /** File systems that e2fsck found clean after the start. */
  readonly cleanFileSystems: number;
  /** Records acknowledged before the loss, all of which were found after it with their content. */
  readonly recordsFound: number;
}

/** A machine in QEMU with an OS disk and a data disk under the key of its world. */
interface Revoked {
  readonly clients: Clients;
  readonly world: World;
  readonly machine: string;
  readonly traces: QemuTraces;
  /** Longest boot. */
  readonly bootMs: number;
}

/**
 * Disables the key, waits until the machine is off, enables it, starts the machine, and waits until it writes.
 * @throws AssertionError if QEMU still runs, a file system is damaged, or a record is missing
 */
export const loseAndRegain = async ({ clients, world, machine, traces, bootMs }: Revoked): Promise<Round> => {
  const disks = [osOf(machine), dataOf(machine)];
  await clients.keyVault.disableKeyVersion({ name: world.keyVersion });
  const lostMs = Date.now();
  const off = await untilPower(clients, machine, 'STOPPED');
  const stoppedMs = Date.now() - lostMs;
  assert.equal(off.stopCause, 'KEY_LOST');
  assert.equal(traces.pid(), undefined, 'no QEMU is left');
  const before = traces.journal();
  const acknowledged = disks.map((disk) => newestRecord(before, disk));
  const late = before.filter(({ ok, op, completedAt }) => ok && op === 'write' && completedAt > lostMs);

  await clients.keyVault.enableKeyVersion({ name: world.keyVersion });
  const [spawned] = await Promise.all([
    until('QEMU runs', async () => (traces.pid() === undefined ? undefined : Date.now()), bootMs),
    startAgain(clients, world.set, [machine]),
  ]);
  await untilRecords(traces, disks, bootMs);
  const after = traces.journal().slice(before.length);
  let cleanFileSystems = 0;
  for (const [n, disk] of disks.entries()) {
    const checks = after.filter((io) => io.disk === disk && io.op === 'verify');
    assert.equal(checks.length, 2, 'e2fsck of the replayed file system, and the records');
    assert.ok(
      checks.every(({ ok }) => ok),
      JSON.stringify(checks),
    );
    assert.ok((checks[1]?.seq ?? 0) >= (acknowledged[n] ?? 0));
    cleanFileSystems += 1;
  }
  const first = after.find(({ op, ok }) => op === 'write' && ok);
  return {
    stoppedMs,
    lateMs: Math.max(0, ...late.map(({ completedAt }) => completedAt - lostMs)),
    bootMs: (first?.completedAt ?? Number.NaN) - spawned,
    cleanFileSystems,
    recordsFound: acknowledged.reduce((sum, seq) => sum + seq, 0),
  };
};
