import { spawn } from 'node:child_process';
import { closeSync, existsSync, mkdirSync, openSync, readFileSync, rmSync, writeFileSync } from 'node:fs';
import { glob } from 'node:fs/promises';
import { dirname, join, sep } from 'node:path';
import { fileURLToPath } from 'node:url';
import { isDeepStrictEqual } from 'node:util';
import type { Certificates } from '@interlock/rpc';
import type { Clock, Logger, Renewed } from '@interlock/runtime';
import { readCounters } from '../guest/counters.ts';
import { type GuestFile, guestFiles, guestTls, type QemuTerms, readGuestFile, writeGuestFile } from '../guest/plan.ts';
import { limiter } from '../limiter.ts';
import { readJournalPage } from './guest-journal.ts';
import { findGuest, type GuestProcess, guestPid, hostRun, signalGuest, untilGone } from './guest-process.ts';
import {
  type GuestDisk,
  type GuestEnding,
  type GuestIo,
  type GuestPlan,
  GuestStartError,
  type JournalPage,
  type RunningGuest,
  type StopOrder,
  type VmHost,
} from './vm-host.ts';

export interface GuestDriverOptions {
  /**
   * Holds a folder per machine, `<folder>/subscriptions/…/virtualMachines/<vm>`, with the journal of its I/O. The journal
   * belongs to one unique id: a new machine of the same name begins with an empty folder.
   */
  readonly folder: string;
  /** What guests show and trust; running guests get it when it is renewed. */
  readonly tls: Renewed<Certificates> | 'plaintext';
  /** Longest single read, write or flush of a guest, in milliseconds; absent: the default of guests. */
  readonly ioTimeoutMs?: number;
  /** `host:port` of each process of the disk service: guests ask there who has a disk whose host does not answer. */
  readonly diskAddresses?: readonly string[];
  /** Guests end with this process; they outlive this service. */
  readonly parentPid?: number;
  /** What machines in QEMU get. */
  readonly qemu: QemuTerms;
  /** The Node that runs guests, and the little of the environment they get. */
  readonly node: string;
  readonly env: Readonly<Record<string, string>>;
  readonly clock: Clock;
  readonly log: Logger;
}

/** Guests that come up at once: each needs a core for a moment. */
const startsMax = 4;
/** How long a guest may take to come up, besides the boot of a machine in QEMU, and to apply a changed plan, in milliseconds. */
const startMs = 30_000;
const applyMs = 2_000;
const lookMs = 10;

/** What runs as the process of a guest. The second holds a QEMU, which ends with it. */
const mains = {
  PROCESS: fileURLToPath(new URL('../guest/main.ts', import.meta.url)),
  QEMU: fileURLToPath(new URL('../qemu/main.ts', import.meta.url)),
} as const;

interface Held extends GuestProcess {
  isEndWanted: boolean;
}

/**
 * Runs each guest as a process of its own. Guests outlive this service: after a restart it finds them by their pid files.
 * Their plans have secrets, so these are in files that only their owner may read, never in arguments or environment.
 */
export class GuestDriver implements VmHost {
  readonly hasGuests = true;
  readonly #options: GuestDriverOptions;
  readonly #guests = new Map<string, Held>();
  /** Starts that were not stopped since: one may still wait for its slot. */
  readonly #starts = new Map<string, object>();
  readonly #listeners: ((vm: string) => void)[] = [];
  readonly #slots = limiter(startsMax);
  /** The run of this host (see `hostRun`). Guests of another run are gone. */
  readonly #host: string;

  constructor(options: GuestDriverOptions) {
    this.#options = options;
    this.#host = hostRun(options.parentPid);
    if (options.tls !== 'plaintext') {
      options.tls.onRenewal(() => {
        for (const [vm, guest] of this.#guests) this.#renewTls(vm, guest);
      });
    }
  }

  async start(vm: string, { machineId, guest, disks, workload }: GuestPlan): Promise<void> {
    if (this.#guestOf(vm)) throw new Error(`${vm} has a guest already: stop it first`);
    const folder = this.#folderOf(vm);
    if (this.#machineIn(vm) !== machineId) rmSync(folder, { recursive: true, force: true });
    mkdirSync(folder, { recursive: true, mode: 0o700 });
    writeFileSync(join(folder, guestFiles.machine), machineId, { mode: 0o600 });
    for (const file of [guestFiles.applied, guestFiles.end]) rmSync(join(folder, file), { force: true });
    const { parentPid, ioTimeoutMs, diskAddresses, qemu, tls } = this.#options;
    writeGuestFile(join(folder, guestFiles.plan), {
      ...{ vm, machineId, guest, ...guestTls(tls), workload, disks, generation: 1, host: this.#host },
      ...(guest === 'QEMU' ? { qemu } : {}),
      ...(ioTimeoutMs === undefined ? {} : { ioTimeoutMs }),
      ...(diskAddresses === undefined ? {} : { diskAddresses }),
      ...(parentPid === undefined ? {} : { parentPid }),
    });
    if (guest === 'IDLE') return;
    const own = {};
    this.#starts.set(vm, own);
    await this.#slots(async () => {
      if (this.#starts.get(vm) !== own) throw new Error(`${vm} was stopped before its guest was started`);
      await this.#launch(vm, guest);
    });
  }

  async stop(vm: string, { graceMs, isKeyLost = false }: StopOrder): Promise<void> {
    this.#starts.delete(vm);
    const guest = this.#guestOf(vm);
    if (guest) {
      guest.isEndWanted = true;
      if (graceMs > 0 && !(isKeyLost && this.#planOf(vm)?.guest === 'QEMU')) {
        signalGuest(guest, 'SIGTERM');
        const patience = new AbortController();
        await Promise.race([guest.ended, this.#options.clock.sleep(graceMs, patience.signal)]);
        patience.abort();
      }
      signalGuest(guest, 'SIGKILL');
      await guest.ended;
    }
    this.#removeTraces(vm);
  }

  attach(vm: string, disk: GuestDisk): Promise<void> {
    return this.#change(vm, (before) => [...before.filter((one) => one.disk !== disk.disk), disk]);
  }

  async detach(vm: string, disk: string): Promise<void> {
    if (await this.isRunning(vm)) await this.#change(vm, (before) => before.filter((one) => one.disk !== disk));
  }

  async isRunning(vm: string): Promise<boolean> {
    return this.#guestOf(vm) !== undefined || this.#planOf(vm)?.guest === 'IDLE';
  }

  async disksOf(vm: string): Promise<readonly string[]> {
    return (await this.isRunning(vm)) ? (this.#planOf(vm)?.disks ?? []).map(({ disk }) => disk) : [];
  }

  async ioOf(vm: string, machineId: string): Promise<GuestIo | undefined> {
    if (this.#machineIn(vm) !== machineId) return undefined;
    return readCounters(join(this.#folderOf(vm), guestFiles.counters));
  }

  async journalOf(vm: string, machineId: string, after: string, limit: number): Promise<JournalPage | undefined> {
    if (this.#machineIn(vm) !== machineId) return undefined;
    return readJournalPage(join(this.#folderOf(vm), guestFiles.journal), after, limit);
  }

  async forget(vm: string): Promise<void> {
    const folder = this.#folderOf(vm);
    if (!findGuest(folder, this.#options.clock)) rmSync(folder, { recursive: true, force: true });
  }

  async runningGuests(): Promise<readonly RunningGuest[]> {
    const found: RunningGuest[] = [];
    for await (const file of glob(`**/${guestFiles.pid}`, { cwd: this.#options.folder })) {
      const vm = dirname(file).split(sep).join('/');
      const pid = guestPid(this.#folderOf(vm));
      if (pid !== undefined) found.push({ vm, end: () => this.#endThat(vm, pid) });
    }
    return found;
  }

  async endOf(vm: string): Promise<GuestEnding> {
    if (this.#planOf(vm)?.host !== this.#host) return { end: 'HOST_RESTARTED' };
    const detail = this.#detailOf(vm);
    return { end: 'GUEST_ENDED', ...(detail === undefined ? {} : { detail }) };
  }

  onEnded(listener: (vm: string) => void): void {
    this.#listeners.push(listener);
  }

  #folderOf(vm: string): string {
    return join(this.#options.folder, ...vm.split('/'));
  }

  /** The plan of a guest. It is put in place whole, so a missing or cut one was lost with the storage of the host. */
  #planOf(vm: string): GuestFile | undefined {
    try {
      return readGuestFile(join(this.#folderOf(vm), guestFiles.plan));
    } catch (error) {
      const isGone = error instanceof Error && 'code' in error && error.code === 'ENOENT';
      if (isGone || error instanceof SyntaxError) return undefined;
      throw error;
    }
  }

  /** How the guest ended, as it wrote it. */
  #detailOf(vm: string): string | undefined {
    const path = join(this.#folderOf(vm), guestFiles.end);
    return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
  }

  /** Unique id of the machine whose journal is in the folder. */
  #machineIn(vm: string): string | undefined {
    const path = join(this.#folderOf(vm), guestFiles.machine);
    return existsSync(path) ? readFileSync(path, 'utf8') : undefined;
  }

  #hold(vm: string, found: GuestProcess): Held {
    const held: Held = { ...found, isEndWanted: false };
    this.#guests.set(vm, held);
    void found.ended.then(() => {
      if (this.#guests.get(vm) === held) this.#guests.delete(vm);
      if (!held.isEndWanted) for (const listener of this.#listeners) listener(vm);
    });
    return held;
  }

  #guestOf(vm: string): Held | undefined {
    const held = this.#guests.get(vm);
    if (held) return held;
    const found = findGuest(this.#folderOf(vm), this.#options.clock);
    if (!found) return undefined;
    const guest = this.#hold(vm, found);
    // Certificates may have been renewed while no process of this service ran.
    this.#renewTls(vm, guest);
    return guest;
  }

  #renewTls(vm: string, guest: GuestProcess): void {
    const folder = this.#folderOf(vm);
    const plan = join(folder, guestFiles.plan);
    // A guest without a plan is about to end. One that has applied none is not up yet, and the signal would end it.
    if (!existsSync(plan) || !existsSync(join(folder, guestFiles.applied))) return;
    const before = readGuestFile(plan);
    const tls = guestTls(this.#options.tls);
    if (before.authority === tls.authority && isDeepStrictEqual(before.client, tls.client)) return;
    writeGuestFile(plan, { ...before, ...tls, generation: before.generation + 1 });
    signalGuest(guest, 'SIGHUP');
  }

  /** Changes the disks of a running guest and waits until it has applied that, at most `applyMs`. */
  async #change(vm: string, disks: (before: readonly GuestDisk[]) => readonly GuestDisk[]): Promise<void> {
    const { clock } = this.#options;
    const guest = this.#guestOf(vm);
    const folder = this.#folderOf(vm);
    const path = join(folder, guestFiles.plan);
    const before = this.#planOf(vm);
    if (before === undefined || (!guest && before.guest !== 'IDLE')) throw new Error(`${vm} has no guest`);
    const generation = before.generation + 1;
    writeGuestFile(path, { ...before, disks: disks(before.disks), generation });
    if (!guest) return;
    signalGuest(guest, 'SIGHUP');
    const applied = (): number => Number(readFileSync(join(folder, guestFiles.applied), 'utf8'));
    const endMs = clock.monotonicMs() + applyMs;
    while (this.#guests.get(vm) === guest && applied() < generation && clock.monotonicMs() < endMs) {
      await clock.sleep(lookMs);
    }
  }

  async #launch(vm: string, kind: keyof typeof mains): Promise<void> {
    const { clock, log, qemu } = this.#options;
    const folder = this.#folderOf(vm);
    const child = this.#spawn(folder, mains[kind]);
    const exited = new Promise<void>((resolve) => {
      child.once('exit', () => resolve());
      child.once('error', (error) => {
        log.warn('guest process failed', { vm, error });
        resolve();
      });
    });
    const { stdout } = child;
    if (child.pid === undefined || stdout === null) throw new Error(`no process could be started for ${vm}`);
    const ended = exited.then(() => untilGone(folder, [], clock));
    writeFileSync(join(folder, guestFiles.pid), String(child.pid), { mode: 0o600 });
    const held = this.#hold(vm, { pid: child.pid, ended });
    // Until it is up, the failed start reports its end.
    held.isEndWanted = true;
    const patience = new AbortController();
    const outcome = await Promise.race([
      new Promise<'ready'>((resolve) => stdout.once('data', () => resolve('ready'))),
      ended.then(() => 'ended' as const),
      clock.sleep(startMs + (kind === 'QEMU' ? qemu.bootMs : 0), patience.signal).then(() => 'not responding' as const),
    ]);
    patience.abort();
    stdout.destroy();
    child.unref();
    if (outcome !== 'ready') {
      signalGuest(held, 'SIGKILL');
      const detail = this.#detailOf(vm);
      if (detail !== undefined) throw new GuestStartError(detail);
      throw new Error(`the guest of ${vm} did not come up: ${outcome}; see ${join(folder, guestFiles.log)}`);
    }
    if (this.#guests.get(vm) !== held) return;
    held.isEndWanted = false;
    // Certificates may have been renewed while it came up.
    this.#renewTls(vm, held);
  }

  #spawn(folder: string, main: string) {
    const output = openSync(join(folder, guestFiles.log), 'a', 0o600);
    // A session of its own: a signal to the process group of this service does not end its guests.
    const child = spawn(this.#options.node, ['--disable-sigusr1', main, folder], {
      ...{ detached: true, cwd: '/', env: this.#options.env },
      stdio: ['ignore', 'pipe', output],
    });
    closeSync(output);
    return child;
  }

  /** Removes the files by which a guest is found, unless another replica has started a guest since. */
  #removeTraces(vm: string): void {
    const folder = this.#folderOf(vm);
    if (findGuest(folder, this.#options.clock)) return;
    for (const file of [guestFiles.plan, guestFiles.pid, guestFiles.qemuPid])
      rmSync(join(folder, file), { force: true });
  }

  async #endThat(vm: string, pid: number): Promise<void> {
    const guest = this.#guestOf(vm);
    if (guest?.pid !== pid) return;
    guest.isEndWanted = true;
    signalGuest(guest, 'SIGKILL');
    await guest.ended;
    this.#removeTraces(vm);
  }
}
