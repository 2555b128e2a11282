import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { parseArgs } from 'node:util';
import { runCommand } from '../../deploy/local/command.ts';
import { LauncherError, openDataFolder } from '../../deploy/local/data-folder.ts';
import { startLocalCloud } from '../../deploy/local/local-cloud.ts';
import { removeServer } from '../../deploy/local/unprivileged.ts';
import { openOutside } from '../cloud/clients.ts';
import { makeMachine, makeWorld } from '../cloud/world.ts';
import { tracesOf, whyNoQemu } from './qemu-machines.ts';
import { dataOf, loseAndRegain, osOf, type Round, untilRecords } from './rounds.ts';

/** Longest boot, in milliseconds: without KVM, on a busy machine. */
const bootMs = 150_000;

const usage = `npm run qemu:soak -- [--rounds N]

Disables the key of one machine in QEMU N times (default 50), starts it again each time, and checks file systems and records.
Ends with an error at the first damaged file system or missing record. Prints a JSON line: durations in milliseconds.`;

const readRounds = (): number => {
  const rounds = Number(parseArgs({ options: { rounds: { type: 'string', default: '50' } } }).values.rounds);
  if (Number.isInteger(rounds) && rounds > 0) return rounds;
  throw new LauncherError(`--rounds must be a whole number above 0.\n\n${usage}`);
};

const quantiles = (values: readonly number[]) => {
  const sorted = values.toSorted((one, other) => one - other);
  const at = (share: number) => sorted[Math.min(sorted.length - 1, Math.floor(share * sorted.length))];
  return { p50: at(0.5), p95: at(0.95), max: sorted.at(-1) };
};

runCommand(async (scope) => {
  const rounds = readRounds();
  const reason = whyNoQemu(process.env);
  if (reason !== undefined) throw new LauncherError(`Machines in QEMU: ${reason}`);
  const data = openDataFolder(mkdtempSync(join(tmpdir(), 'interlock-x-')));
  scope.defer('folder', () => {
    removeServer(data);
    rmSync(data.root, { recursive: true, force: true });
  });
  const { DATABASE_URL: _, NATS_URL: __, ...env } = process.env;
  const cloud = await startLocalCloud({ data, env, settings: { GUEST_BOOT_MS: String(bootMs) }, within: scope });
  const outside = openOutside(cloud);
  scope.defer('clients', outside.close);
  const clients = outside.administrator;
  const world = await makeWorld(clients, []);
  const workload = { kind: 'WRITE_AND_VERIFY', ioPerSecond: 10, ioSizeBytes: 4_096 } as const;
  const machine = await makeMachine(clients, world, 'vm', ['PREMIUM_SSD', 'PREMIUM_SSD'], workload, 'QEMU');
  const traces = tracesOf(data.path('services', 'compute', 'guests'), machine);
  await untilRecords(traces, [osOf(machine), dataOf(machine)], bootMs);
  const done: Round[] = [];
  while (done.length < rounds && !scope.signal.aborted) {
    const round = await loseAndRegain({ clients, world, machine, traces, bootMs });
    done.push(round);
    const { stoppedMs, lateMs, bootMs: booted } = round;
    console.log(
      `${done.length}: off after ${stoppedMs} ms, last record after ${lateMs} ms, first record after ${booted} ms`,
    );
  }
  const errors = traces.console().match(/I\/O error|EXT4-fs error/g)?.length ?? 0;
  const figures = {
    ...{ rounds: done.length, consoleErrors: errors },
    cleanFileSystems: done.reduce((sum, { cleanFileSystems }) => sum + cleanFileSystems, 0),
    recordsFound: done.at(-1)?.recordsFound ?? 0,
    stoppedMs: quantiles(done.map(({ stoppedMs }) => stoppedMs)),
    lateMs: quantiles(done.map(({ lateMs }) => lateMs)),
    bootMs: quantiles(done.map((round) => round.bootMs)),
  };
  return { exitCode: errors === 0 ? 0 : 1, lastLine: JSON.stringify(figures) };
});
