import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, renameSync, rmSync, writeFileSync } from 'node:fs';
import { glob } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import type { Certificates } from '@interlock/rpc';
import type { Clock, Logger, Renewed } from '@interlock/runtime';
import { readCounters } from '../guest/counters.ts';
import { type GuestFile, guestFiles, guestTls, readGuestFile } from '../guest/plan.ts';
import { limiter } from '../limiter.ts';
import { findGuest, type GuestProcess, guestPid, hostRun, signalGuest } from './guest-process.ts';
import type { GuestDisk, RunningGuest, VmHost } from './vm-host.ts';

export interface GuestDriverOptions {
  /**
   * Holds a folder for each machine, `<folder>/subscriptions/…/virtualMachines/<vm>`, with the journal of its I/O. The journal
   * is that of one unique id: a machine that is made again under the same name begins with an empty folder.
   */
  readonly folder: string;
  /** What guests show and trust; running ones are told when it is renewed. */
  readonly tls: Renewed<Certificates> | 'plaintext';
  /** Longest single read, write or flush of a guest, in milliseconds, where it is not the usual one. */
  readonly ioTimeoutMs?: number;
  /** Process without which guests end; they outlive this one. */
  readonly parentPid?: number;
  /** The Node that runs guests, and the little of the environment they get. */
  readonly node: string;
  readonly env: Readonly<Record<string, string>>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Processes coming up at once: each needs a core for a moment. */
const startsMax = 4;
/** How long a guest may take to come up, and to take over a changed plan, in milliseconds. */
const startMs = 30_000;
const applyMs = 2_000;
const lookMs = 10;

const guestMain = fileURLToPath(new URL('../guest/main.ts', import.meta.url));

interface Held extends GuestProcess {
  isEndWanted: boolean;
}

/**
 * Runs each guest as a process of its own. Guests outlive this service: a restarted one finds them by their pid files and
 * goes on. Their plans hold secrets, so these travel in files only their owner may read, never in arguments or environment.
 */
export const guestDriver = (options: GuestDriverOptions): VmHost => {
  const { clock, log } = options;
  const guests = new Map<string, Held>();
  /** Starts that nobody has stopped meanwhile: one may still be waiting for its turn. */
  const starts = new Map<string, object>();
  const listeners: ((vm: string) => void)[] = [];
  const turns = limiter(startsMax);
  const host = hostRun(options.parentPid);
  const folderOf = (vm: string): string => join(options.folder, ...vm.split('/'));

  /** Unique id of the machine whose journal is there; `undefined` where there is none. */
  const machineIn = (vm: string): string | undefined => {
    const path = join(folderOf(vm), guestFiles.machine);
    return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
  };

  const hold = (vm: string, found: GuestProcess): Held => {
    const held: Held = { ...found, isEndWanted: false };
    guests.set(vm, held);
    void found.ended.then(() => {
      if (guests.get(vm) === held) guests.delete(vm);
      if (!held.isEndWanted) for (const tell of listeners) tell(vm);
    });
    return held;
  };
  const guestOf = (vm: string): Held | undefined => {
    const held = guests.get(vm);
    if (held) return held;
    const found = findGuest(folderOf(vm), clock);
    if (!found) return undefined;
    const guest = hold(vm, found);
    // It may have been started with certificates that were renewed while nobody of us was there.
    renewTls(vm, guest);
    return guest;
  };

  const writePlan = (vm: string, plan: GuestFile): void => {
    const path = join(folderOf(vm), guestFiles.plan);
    writeFileSync(`${path}.new`, JSON.stringify(plan), { mode: 0o600 });
    renameSync(`${path}.new`, path);
  };

  const renewTls = (vm: string, guest: GuestProcess): void => {
    const [plan = '', applied = ''] = [guestFiles.plan, guestFiles.applied].map((file) => join(folderOf(vm), file));
    // One whose plan is gone is about to end; one that has applied none is not up yet, and the signal would end it.
    if (!existsSync(plan) || !existsSync(applied)) return;
    const before = readGuestFile(plan);
    const tls = guestTls(options.tls);
    if (before.authority === tls.authority && isDeepStrictEqual(before.client, tls.client)) return;
    writePlan(vm, { ...before, ...tls, generation: before.generation + 1 });
    signalGuest(guest, 'SIGHUP');
  };
  if (options.tls !== 'plaintext') {
    options.tls.onRenewal(() => {
      for (const [vm, guest] of guests) renewTls(vm, guest);
    });
  }

  /** Changes the disks of a running guest and waits, not for ever, until it has taken them over. */
  const change = async (vm: string, disks: (before: readonly GuestDisk[]) => readonly GuestDisk[]): Promise<void> => {
    const guest = guestOf(vm);
    if (!guest) throw new Error(`${vm} has no guest`);
    const folder = folderOf(vm);
    const before = readGuestFile(join(folder, guestFiles.plan));
    const plan = { ...before, disks: disks(before.disks), generation: before.generation + 1 };
    writePlan(vm, plan);
    signalGuest(guest, 'SIGHUP');
    const applied = () => Number(readFileSync(join(folder, guestFiles.applied), 'utf8'));
    const endMs = clock.monotonicMs() + applyMs;
    while (guests.get(vm) === guest && applied() < plan.generation && clock.monotonicMs() < endMs) {
      await clock.sleep(lookMs);
    }
  };

  const launch = async (vm: string): Promise<void> => {
    const folder = folderOf(vm);
    const output = openSync(join(folder, guestFiles.log), 'a', 0o600);
    // A session of its own: what ends this service, its process group included, does not end its guests.
    const child = spawn(options.node, ['--disable-sigusr1', guestMain, folder], {
      detached: true,
      cwd: '/',
      env: options.env,
      stdio: ['ignore', 'pipe', output],
    });
    closeSync(output);
    const ended = new Promise<void>((resolve) => {
      child.once('exit', () => resolve());
      child.once('error', (error) => {
        log.warn('guest process failed', { vm, error });
        resolve();
      });
    });
    const { stdout } = child;
    if (child.pid === undefined || stdout === null) throw new Error(`no process could be started for ${vm}`);
    writeFileSync(join(folder, guestFiles.pid), String(child.pid), { mode: 0o600 });
    const held = hold(vm, { pid: child.pid, ended });
    // Until it is up, its end is told by the failed start.
    held.isEndWanted = true;
    const patience = new AbortController();
    const outcome = await Promise.race([
      new Promise<'ready'>((resolve) => stdout.once('data', () => resolve('ready'))),
      ended.then(() => 'ended' as const),
      clock.sleep(startMs, patience.signal).then(() => 'silent' as const),
    ]);
    patience.abort();
    stdout.destroy();
    child.unref();
    if (outcome !== 'ready') {
      signalGuest(held, 'SIGKILL');
      throw new Error(`the guest of ${vm} did not come up: ${outcome}; see ${join(folder, guestFiles.log)}`);
    }
    if (guests.get(vm) !== held) return;
    held.isEndWanted = false;
    // What was renewed while it came up, it has not heard of.
    renewTls(vm, held);
  };

  /** Takes the files away by which a guest is found; those of a guest that another replica has started since stay. */
  const forgetGuest = (vm: string): void => {
    if (findGuest(folderOf(vm), clock)) return;
    for (const file of [guestFiles.plan, guestFiles.pid]) rmSync(join(folderOf(vm), file), { force: true });
  };

  const endThat = async (vm: string, pid: number): Promise<void> => {
    const guest = guestOf(vm);
    if (guest?.pid !== pid) return;
    guest.isEndWanted = true;
    signalGuest(guest, 'SIGKILL');
    await guest.ended;
    forgetGuest(vm);
  };

  return {
    hasGuests: true,
    async start(vm, { machineId, disks, workload }) {
      if (guestOf(vm)) throw new Error(`${vm} has a guest already`);
      const folder = folderOf(vm);
      if (machineIn(vm) !== machineId) rmSync(folder, { recursive: true, force: true });
      mkdirSync(folder, { recursive: true, mode: 0o700 });
      writeFileSync(join(folder, guestFiles.machine), machineId, { mode: 0o600 });
      rmSync(join(folder, guestFiles.applied), { force: true });
      const { parentPid, ioTimeoutMs } = options;
      writePlan(vm, {
        vm,
        machineId,
        ...guestTls(options.tls),
        ...(ioTimeoutMs === undefined ? {} : { ioTimeoutMs }),
        workload,
        disks,
        generation: 1,
        host,
        ...(parentPid === undefined ? {} : { parentPid }),
      });
      const own = {};
      starts.set(vm, own);
      await turns(async () => {
        if (starts.get(vm) !== own) throw new Error(`${vm} was stopped before its guest was started`);
        await launch(vm);
      });
    },
    async stop(vm, { graceMs }) {
      starts.delete(vm);
      const guest = guestOf(vm);
      if (guest) {
        guest.isEndWanted = true;
        const patience = new AbortController();
        if (graceMs > 0) {
          signalGuest(guest, 'SIGTERM');
          await Promise.race([guest.ended, clock.sleep(graceMs, patience.signal)]);
          patience.abort();
        }
        signalGuest(guest, 'SIGKILL');
        await guest.ended;
      }
      forgetGuest(vm);
    },
    attach: (vm, disk) => change(vm, (before) => [...before.filter((one) => one.disk !== disk.disk), disk]),
    async detach(vm, disk) {
      if (guestOf(vm)) await change(vm, (before) => before.filter((one) => one.disk !== disk));
    },
    isRunning: async (vm) => guestOf(vm) !== undefined,
    ioOf: async (vm, machineId) =>
      machineIn(vm) === machineId ? readCounters(join(folderOf(vm), guestFiles.counters)) : undefined,
    async forget(vm) {
      if (!findGuest(folderOf(vm), clock)) rmSync(folderOf(vm), { recursive: true, force: true });
    },
    async runningGuests() {
      const found: RunningGuest[] = [];
      for await (const file of glob(`**/${guestFiles.pid}`, { cwd: options.folder })) {
        const vm = dirname(file).split(sep).join('/');
        const pid = guestPid(folderOf(vm));
        if (pid !== undefined) found.push({ vm, end: () => endThat(vm, pid) });
      }
      return found;
    },
    async endOf(vm) {
      try {
        return readGuestFile(join(folderOf(vm), guestFiles.plan)).host === host ? 'GUEST_ENDED' : 'HOST_RESTARTED';
      } catch (error) {
        // What described the guest is gone as well, with the storage of the host, or cut off: it was put in place whole.
        const isGone = error instanceof Error && 'code' in error && error.code === 'ENOENT';
        if (isGone || error instanceof SyntaxError) return 'HOST_RESTARTED';
        throw error;
      }
    },
    onEnded: (listener) => {
      listeners.push(listener);
    },
  };
};
