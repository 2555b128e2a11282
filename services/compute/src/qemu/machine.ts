import { type ChildProcess, spawn } from 'node:child_process';
import { accessSync, closeSync, constants, existsSync, openSync } from 'node:fs';
import { join } from 'node:path';
import { Duplex } from 'node:stream';
import type { Clock } from '@interlock/runtime/clock';
import type { RotatingFile } from '../guest/rotating-file.ts';
import type { GuestDisk } from '../guests/vm-host.ts';
import { addDisk, closeDisk, requestRemoval, socketOf } from './block-devices.ts';
import {
  imageFiles,
  inherited,
  type MachineBoot,
  qemuCommand,
  qemuProgram,
  withoutPrivileges,
} from './command-line.ts';
import { Qmp, type QmpEvent } from './qmp.ts';
import { serialOf } from './records.ts';

/** How often a machine that a failed request stopped tries to continue, in milliseconds. */
const continueMs = 500;
/** How often QEMU is asked whether it responds, in milliseconds. */
const lookMs = 5_000;
/** How long a guest may take to release a disk, in milliseconds. */
const releaseMs = 5_000;
/** How long QEMU may take to exit after it closed its QMP connection, in milliseconds. */
const exitMs = 1_000;
/** What is kept of the last output of QEMU and of the console, in characters. */
const tailLength = 4_096;

/** What a machine needs. */
interface QemuParts {
  readonly boot: MachineBoot;
  /** Folders of programs, as in PATH. */
  readonly path: string;
  readonly clock: Clock;
  /** Takes what the serial console prints. */
  readonly console: RotatingFile;
  /** Takes what the guest sends over its port. */
  readonly onAgent: (bytes: Buffer) => void;
  /** Called with the process id of QEMU. */
  readonly onProcess: (pid: number) => void;
  /** Called with a line for operators. */
  readonly note: (line: string) => void;
}

/** One QEMU process: its disks over NBD, its control over QMP. Requests that fail stop it, and it continues when they may succeed. */
export class QemuMachine {
  readonly #parts: QemuParts;
  readonly #ports = new Map<string, string>();
  readonly #disks = new Map<string, GuestDisk>();
  /** Called when the device of a serial is gone. */
  readonly #released = new Map<string, () => void>();
  readonly #ended = Promise.withResolvers<string>();
  #qmp: Qmp | undefined;
  #child: ChildProcess | undefined;
  #reason: string | undefined;
  /** Why the guest ended QEMU, as QEMU says it. */
  #shutdown: string | undefined;
  #isEnding = false;
  #isContinuing = false;
  #consoleTail = '';
  #errorTail = '';

  constructor(parts: QemuParts) {
    this.#parts = parts;
  }

  /** Resolves once QEMU is gone, with the reason in words. */
  get ended(): Promise<string> {
    return this.#ended.promise;
  }

  /** The disks that the machine has. */
  get disks(): readonly GuestDisk[] {
    return [...this.#disks.values()];
  }

  /** Starts QEMU with these disks and lets it boot. @throws Error saying what is missing, or what QEMU refused */
  async start(disks: readonly GuestDisk[]): Promise<void> {
    const [first] = disks;
    if (first === undefined) throw new Error('a QEMU machine boots from its OS disk, and this one has no disk');
    const { responseMs } = this.#parts.boot.terms;
    const qmp = this.#spawn(socketOf(first));
    await qmp.open(responseMs);
    for (const disk of disks) await this.#add(qmp, disk);
    await qmp.execute('cont', {}, responseMs);
    void this.#watch(qmp);
  }

  /** Adds and removes disks. @throws QmpError, QmpSilence */
  async apply(wanted: readonly GuestDisk[]): Promise<void> {
    const qmp = this.#qmp;
    if (qmp === undefined || this.#isEnding) return;
    const isWanted = (one: GuestDisk): boolean =>
      wanted.some(({ disk, accessToken }) => disk === one.disk && accessToken === one.accessToken);
    for (const disk of this.disks.filter((one) => !isWanted(one))) await this.#remove(qmp, disk);
    for (const disk of wanted) if (!this.#disks.has(serialOf(disk))) await this.#add(qmp, disk);
  }

  /** Asks the guest to shut down. A machine that cannot reach its disks is ended: its guest could not shut down. */
  async shutDown(): Promise<void> {
    this.#isEnding = true;
    const status = await this.#status();
    if (status === 'running') await this.#qmp?.execute('system_powerdown', {}, this.#parts.boot.terms.responseMs);
    else this.end(`the machine was ${status ?? 'not up'} when it was asked to shut down`);
  }

  /** Ends QEMU at once. @param reason in words; an earlier one counts */
  end(reason: string): void {
    this.#isEnding = true;
    this.#reason ??= reason;
    if (this.#child === undefined) this.#ended.resolve(this.#reason);
    else this.#child.kill('SIGKILL');
  }

  #spawn(socket: string): Qmp {
    const { boot, path, clock, console, onAgent, onProcess } = this.#parts;
    checkInstalled(path, boot.terms.imageFolder);
    const isRoot = process.getuid?.() === 0;
    const { program, args } = withoutPrivileges(qemuCommand(boot), socket, isRoot);
    const files = [imageFiles.kernel, imageFiles.initrd].map((file) =>
      openSync(join(boot.terms.imageFolder, file), 'r'),
    );
    const child = spawn(program, args, {
      stdio: ['ignore', 'ignore', 'pipe', 'pipe', 'pipe', 'pipe', ...files],
      env: { PATH: path, LC_ALL: 'C' },
    });
    for (const file of files) closeSync(file);
    this.#child = child;
    child.once('error', (error) => {
      this.#reason ??= `${program} could not be started: ${error.message}`;
      this.#ended.resolve(this.#reason);
    });
    // Not `exit`: what it printed last has been read when its streams are closed.
    child.once('close', (code, signal) => this.#ended.resolve(this.#reason ?? this.#exitReason(code, signal)));
    child.stderr?.on('data', (bytes: Buffer) => {
      this.#errorTail = `${this.#errorTail}${bytes}`.slice(-tailLength);
    });
    stdioOf(child, inherited.console).on('data', (bytes: Buffer) => {
      this.#consoleTail = `${this.#consoleTail}${bytes}`.slice(-tailLength);
      console.append(bytes);
    });
    stdioOf(child, inherited.agent).on('data', onAgent);
    if (child.pid !== undefined) onProcess(child.pid);
    const qmp = new Qmp(stdioOf(child, inherited.qmp), clock, (event) => this.#receive(event));
    this.#qmp = qmp;
    // It ends with QEMU; while QEMU is left, nothing controls it.
    void qmp.ended.then(async () => {
      await Promise.race([this.ended, clock.sleep(exitMs)]);
      this.end(this.#lastWords('QEMU closed its QMP connection'));
    });
    return qmp;
  }

  #exitReason(code: number | null, signal: string | null): string {
    if (this.#shutdown === 'guest-shutdown') return 'the guest shut down';
    if (this.#shutdown === 'guest-reset') return this.#lastWords('the guest reset itself');
    if (this.#shutdown !== undefined) return this.#lastWords(`the guest ended: ${this.#shutdown}`);
    if (signal !== null) return `QEMU was ended by ${signal}`;
    return this.#lastWords(code === 0 ? 'QEMU ended' : `QEMU ended with status ${code}`);
  }

  /** A reason with what QEMU, or otherwise the console, printed last. */
  #lastWords(reason: string): string {
    const error = linesOf(this.#errorTail).at(-1);
    if (error !== undefined) return `${reason}: ${error}`;
    const lines = linesOf(this.#consoleTail);
    // What the guest says about its end comes before the trace of its kernel.
    const line = lines.findLast((one) => one.startsWith('interlock: ')) ?? lines.findLast(isPanic) ?? lines.at(-1);
    return line === undefined ? reason : `${reason}; its console printed: ${line}`;
  }

  async #add(qmp: Qmp, disk: GuestDisk): Promise<void> {
    await addDisk(qmp, disk, this.#ports, this.#parts.boot.terms.responseMs);
    this.#disks.set(serialOf(disk), disk);
  }

  async #remove(qmp: Qmp, disk: GuestDisk): Promise<void> {
    const { clock, boot } = this.#parts;
    const serial = serialOf(disk);
    const waited = new AbortController();
    const released = new Promise<boolean>((resolve) => this.#released.set(serial, () => resolve(true)));
    await requestRemoval(qmp, disk, boot.terms.responseMs);
    const isReleased = await Promise.race([released, clock.sleep(releaseMs, waited.signal).then(() => false)]);
    waited.abort();
    this.#released.delete(serial);
    this.#disks.delete(serial);
    // Its access ends with the detach, so a guest that keeps the device can do nothing with it.
    if (!isReleased) this.#parts.note(`the guest did not release ${disk.disk} within ${releaseMs} ms`);
    else await closeDisk(qmp, serial, this.#ports, boot.terms.responseMs);
  }

  #receive({ event, data }: QmpEvent): void {
    switch (event) {
      case 'DEVICE_DELETED':
        this.#released.get(String(data.device))?.();
        return;
      case 'BLOCK_IO_ERROR':
        this.#parts.note(`a ${data.operation} of ${data['node-name']} failed: ${data.reason}`);
        return;
      case 'SHUTDOWN':
        if (data.guest === true) this.#shutdown = String(data.reason);
        return;
      case 'STOP':
        void this.#continue();
        return;
    }
  }

  /** Lets a machine that a failed request stopped try again, until requests succeed: none of them is lost. */
  async #continue(): Promise<void> {
    const { clock, boot, note } = this.#parts;
    if (this.#isContinuing) return;
    this.#isContinuing = true;
    const since = clock.monotonicMs();
    for (let isFrozen = false; ; isFrozen = true) {
      const status = await this.#status();
      if (status !== 'io-error') {
        this.#isContinuing = false;
        if (isFrozen) note(`the machine runs again after ${Math.round(clock.monotonicMs() - since)} ms`);
        return;
      }
      if (this.#isEnding) return this.end('its disks refused requests while it was shutting down');
      if (!isFrozen) note('the machine is stopped until its disks serve requests again');
      await clock.sleep(continueMs);
      await this.#qmp?.execute('cont', {}, boot.terms.responseMs).catch((error: Error) => this.end(error.message));
      await clock.sleep(continueMs);
    }
  }

  /** What QEMU says the machine does; undefined once it is gone. A QEMU that does not respond is ended. */
  async #status(): Promise<string | undefined> {
    try {
      const answer = await this.#qmp?.execute('query-status', {}, this.#parts.boot.terms.responseMs);
      return (answer as { readonly status?: string } | undefined)?.status;
    } catch (error) {
      this.end(error instanceof Error ? error.message : String(error));
      return undefined;
    }
  }

  /** Ends a QEMU that does not respond. */
  async #watch(qmp: Qmp): Promise<void> {
    let isOver = false;
    void qmp.ended.then(() => {
      isOver = true;
    });
    while (!isOver) {
      await this.#parts.clock.sleep(lookMs);
      if (!isOver) await this.#status();
    }
  }
}

/** @throws Error that names the missing program or file, and how to get it */
const checkInstalled = (path: string, imageFolder: string): void => {
  const folders = path.split(':').filter((folder) => folder !== '');
  if (!folders.some((folder) => isExecutable(join(folder, qemuProgram)))) {
    throw new Error(`${qemuProgram} is not installed on the host: install the package qemu-system-x86`);
  }
  const missing = Object.values(imageFiles).find((file) => !existsSync(join(imageFolder, file)));
  if (missing === undefined) return;
  throw new Error(`the guest image has no ${missing} in ${imageFolder}: run npx interlock image build`);
};

const isExecutable = (path: string): boolean => {
  try {
    accessSync(path, constants.X_OK);
    return true;
  } catch {
    return false;
  }
};

/** A socket that a child inherited. */
const stdioOf = (child: ChildProcess, descriptor: number): Duplex => {
  const stream = child.stdio[descriptor];
  if (stream instanceof Duplex) return stream.on('error', () => undefined);
  throw new Error(`descriptor ${descriptor} of the child is no socket`);
};

/** The lines of a text that have content. */
const linesOf = (text: string): readonly string[] =>
  text
    .split('\n')
    .map((line) => line.trim())
    .filter((line) => line !== '');

const isPanic = (line: string): boolean => line.includes('Kernel panic');
