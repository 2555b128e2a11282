import { writeFileSync } from 'node:fs';
import { join } from 'node:path';
import { isSpaceError } from '@interlock/runtime/space-error';
import { openCounters } from '../guest/counters.ts';
import { openJournal, readJournal } from '../guest/journal.ts';
import { guestClock as clock, endWhenUnneeded } from '../guest/life.ts';
import { type GuestFile, guestFiles, readGuestFile } from '../guest/plan.ts';
import { openRotatingFile } from '../guest/rotating-file.ts';
import { stored, storeWhenPossible } from '../guest/stored.ts';
import { GuestAgent } from './agent.ts';
import { QemuMachine } from './machine.ts';

/** Most bytes of a file of the console log; there are two. */
const consoleBytesMax = 256 * 1024;

/** How long a guest may take to shut down where its driver does not end it, in milliseconds. */
const shutDownMs = 15_000;
/** How long a QEMU that failed may take to exit, in milliseconds. */
const exitMs = 500;

const [, , folder] = process.argv;
if (!folder) throw new Error('a guest is started with its folder');
const fileOf = (name: keyof typeof guestFiles): string => join(folder, guestFiles[name]);

// Without space its log loses lines, and the machine continues.
process.stderr.on('error', (error) => {
  if (!isSpaceError(error)) throw error;
});

const plan = readGuestFile(fileOf('plan'));
const { machineId, workload, qemu: terms, parentPid } = plan;
if (terms === undefined) throw new Error(`${fileOf('plan')} must have qemu`);

const history = readJournal(fileOf('journal'));
const counters = openCounters(fileOf('counters'));
const up = Promise.withResolvers<void>();
const agent: GuestAgent = new GuestAgent({
  ...{ machineId, history, clock },
  journal: counters.over(openJournal(fileOf('journal'))),
  disks: () => machine.disks,
  onUp: () => up.resolve(),
});
const machine = new QemuMachine({
  boot: { folder, machineId, workload, terms },
  path: process.env.PATH ?? '',
  clock,
  console: openRotatingFile(fileOf('console'), consoleBytesMax, { isLossy: true }),
  onAgent: (bytes) => agent.receive(bytes),
  onProcess: (pid) => writeFileSync(fileOf('qemuPid'), String(pid), { mode: 0o600 }),
  note: (line) => process.stderr.write(`${new Date().toISOString()} ${line}\n`),
});

/** Writes the reason and ends: this process is useless without its QEMU. */
const leave = (reason: string, status: number): never => {
  counters.save();
  stored(fileOf('end'), reason.endsWith('.') ? reason : `${reason}.`);
  process.stderr.write(`${new Date().toISOString()} ${reason}\n`);
  process.exit(status);
};

const adoptNew = ({ disks }: GuestFile, known: readonly string[]): void => {
  for (const disk of disks) if (!disk.isContinued && !known.includes(disk.disk)) agent.adopt(disk);
};

let applying = Promise.resolve();
const apply = async (): Promise<void> => {
  const next = readGuestFile(fileOf('plan'));
  adoptNew(
    next,
    machine.disks.map(({ disk }) => disk),
  );
  await machine.apply(next.disks);
  await storeWhenPossible(fileOf('applied'), String(next.generation), clock);
};

let isEnding = false;
const end = (): void => {
  if (isEnding) return;
  isEnding = true;
  clock.alarm(shutDownMs, () => machine.end(`the guest did not shut down within ${shutDownMs / 1_000} s`));
  machine.shutDown().catch((error: Error) => machine.end(error.message));
};
process.on('SIGTERM', end);
process.on('SIGHUP', () => {
  applying = applying.then(apply).catch((error: Error) => void process.stderr.write(`${error.message}\n`));
});
void machine.ended.then((reason) => leave(reason, 0));
void endWhenUnneeded({ planFile: fileOf('plan'), parentPid, look: () => counters.save(), end });

try {
  adoptNew(plan, []);
  await machine.start(plan.disks);
} catch (error) {
  // If QEMU has ended, that is the reason.
  await clock.sleep(exitMs);
  leave(error instanceof Error ? error.message : String(error), 1);
}
const late = clock.alarm(terms.bootMs, () => machine.end(`the guest did not boot within ${terms.bootMs / 1_000} s`));
await up.promise;
late.cancel();
await storeWhenPossible(fileOf('applied'), String(plan.generation), clock);
process.stdout.write(`${JSON.stringify({ ready: true })}\n`);
