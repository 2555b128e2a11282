import type { Loaded } from '@interlock/event-store';
import { contextOfWork, DomainAttribute, sharedSpans } from '@interlock/runtime';
import type { Tracer } from '@opentelemetry/api';
import { Interrupted, orInterrupted } from '../disk-service/disks.ts';
import { limiter } from '../limiter.ts';
import { currentWork, type Vm } from '../vm/state.ts';
import { shareOf } from './machine-shares.ts';
import type { ProcessParts } from './process.ts';
import { nextProcess } from './table.ts';

/** What a notice about a machine interrupts: `stop` any run, `work` only one that closes disks, `look` none. */
export type Urgency = 'look' | 'work' | 'stop';

/** Machines worked on at once, except those stopped for a key: these never wait for another (VM-45). */
const machinesMax = 1_024;
/** Machines held from which on work that can wait has to wait: bounds the memory, and keeps every slot busy. */
const roomMax = 2_000;
/** Machines whose newest version is remembered after their work ended: more than begin while a response of the store is late. */
const rememberedMax = 10_000;
const backoffMsMin = 100;
const backoffMsMax = 5_000;

interface Task {
  /** The machine as the first notice had it, until a run begins. */
  known: Loaded<Vm> | undefined;
  /** A notice arrived since the machine was read. */
  again: boolean;
  /** Interrupts the current run. */
  interrupt: AbortController;
  /** False while the task waits for a slot. */
  isStarted: boolean;
  /** Whether the current run carries out a decision; a run that closes disks gives way to one. */
  isAtWork: boolean;
  /** Version of the machine that the current run works on. */
  version: number;
  /** Runs that have not ended yet, interrupted ones included. */
  readonly running: Set<Promise<unknown>>;
}

interface Notice {
  readonly urgency: Urgency;
  readonly known: Loaded<Vm> | undefined;
}

const urgencies: readonly Urgency[] = ['look', 'work', 'stop'];
const mostUrgent = (one: Urgency, other: Urgency = 'look'): Urgency =>
  urgencies.indexOf(one) > urgencies.indexOf(other) ? one : other;

/**
 * Carries out what was decided about machines, one process per machine at a time. The state of a machine says which process
 * is next, the process stores its outcome, and nothing else is remembered: after a crash the same process runs again. If
 * machines have guests, the engine works only on those in the work partitions it serves and ignores notices about others.
 */
export class Engine {
  readonly #parts: ProcessParts;
  /** Runs that begin for many machines at once, and for one cause, share a span. */
  readonly #spans: ReturnType<typeof sharedSpans>;
  readonly #served = new Set<string>();
  readonly #servedListeners: (() => void)[] = [];
  readonly #tasks = new Map<string, Task>();
  readonly #slots = limiter(machinesMax);
  /** Versions of the machines that were worked on last; the oldest first. */
  readonly #seen = new Map<string, number>();
  #waiting = new Map<string, Notice>();
  #woken = Promise.withResolvers<void>();
  #roomy = Promise.withResolvers<void>();

  constructor({ tracer, ...parts }: ProcessParts & { readonly tracer: Tracer }) {
    this.#parts = parts;
    this.#spans = sharedSpans(tracer);
  }

  /** These machines may have something to do. Idempotent, for any machine. */
  kick(ids: readonly string[]): void {
    for (const id of ids) this.#enqueue(id, 'look');
  }

  /**
   * Starts the processes of machines as they were just stored; as long as there is room, they are not read again. Their work
   * does not wait for the disks of an earlier stop to be closed.
   */
  resume(machines: readonly Loaded<Vm>[]): void {
    for (const machine of machines) {
      const urgency = currentWork(machine.state) === undefined ? 'look' : 'work';
      // A waiting machine that is known by its name alone takes a tenth of the memory.
      this.#enqueue(machine.id, urgency, this.hasRoom() ? machine : undefined);
    }
  }

  /** These machines are to be stopped: interrupts what is done with them now. */
  preempt(ids: readonly string[]): void {
    for (const id of ids) this.#enqueue(id, 'stop');
  }

  /** A decision was stored at this version of a machine. It interrupts no run that began later. */
  notify(id: string, version: number, urgency: Urgency): void {
    if ((this.#tasks.get(id)?.version ?? 0) < version) this.#enqueue(id, urgency);
  }

  /** Whether this replica works on a machine now. Any may work on one without a guest: what is done twice has one effect. */
  isOurs(id: string): boolean {
    return !this.#parts.guests.hasGuests || this.#served.has(shareOf(id));
  }

  /** Calls `listener` whenever this replica begins to serve a work partition. */
  onServed(listener: () => void): void {
    this.#servedListeners.push(listener);
  }

  /**
   * Works on the machines of a work partition until `signal` is aborted, and resolves once no run of it is left. It does not
   * know unfinished work from before: see `onServed`.
   */
  async serve(share: string, signal: AbortSignal): Promise<void> {
    this.#served.add(share);
    for (const listener of this.#servedListeners) listener();
    if (!signal.aborted) {
      await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
    }
    this.#served.delete(share);
    const left = [...this.#tasks].flatMap(([id, task]) => (shareOf(id) === share ? [task] : []));
    for (const { interrupt } of left) interrupt.abort();
    while (left.some(({ running }) => running.size > 0)) {
      await Promise.allSettled(left.flatMap(({ running }) => [...running]));
    }
  }

  /** Whether there is room for work that can wait. */
  hasRoom(): boolean {
    return this.#tasks.size + this.#waiting.size < roomMax;
  }

  /** Resolves once there is room, or when `signal` is aborted. */
  async room(signal: AbortSignal): Promise<void> {
    const leave = (): void => this.#roomy.resolve();
    signal.addEventListener('abort', leave, { once: true });
    while (!this.hasRoom() && !signal.aborted) {
      this.#roomy = Promise.withResolvers();
      await this.#roomy.promise;
    }
    signal.removeEventListener('abort', leave);
  }

  /** Works until `signal` is aborted; the next engine resumes what is not finished then. */
  async run(ending: AbortSignal): Promise<void> {
    const all = new Set<Promise<void>>();
    const end = (): void => {
      for (const { interrupt } of this.#tasks.values()) interrupt.abort();
      this.#woken.resolve();
    };
    ending.addEventListener('abort', end, { once: true });
    while (!ending.aborted) {
      await this.#woken.promise;
      this.#woken = Promise.withResolvers();
      if (ending.aborted) break;
      const batch = this.#waiting;
      this.#waiting = new Map();
      for (const [id, notice] of batch) {
        const done = this.#begin(id, notice, ending);
        if (!done) continue;
        all.add(done);
        void done.finally(() => all.delete(done));
      }
    }
    await Promise.all(all);
  }

  #enqueue(id: string, urgency: Urgency, known?: Loaded<Vm>): void {
    if (!this.isOurs(id)) return;
    const before = this.#waiting.get(id);
    // The order of two notices is unknown, so the machine is read.
    this.#waiting.set(id, { urgency: mostUrgent(urgency, before?.urgency), known: before ? undefined : known });
    this.#woken.resolve();
  }

  #begin(id: string, { urgency, known }: Notice, ending: AbortSignal): Promise<void> | undefined {
    const existing = this.#tasks.get(id);
    if (existing) {
      existing.again = true;
      if (urgency === 'stop' || (urgency === 'work' && !existing.isAtWork)) existing.interrupt.abort();
      return urgency === 'stop' ? this.#start(id, existing, ending) : undefined;
    }
    const interrupt = new AbortController();
    // The response to a commit may be late: what was stored there may be over by now, and its work must not be done again.
    const isOutdated = known !== undefined && known.version < (this.#seen.get(id) ?? 0);
    const task: Task = {
      ...{
        known: isOutdated ? undefined : known,
        interrupt,
        again: false,
        isStarted: false,
        isAtWork: false,
        version: 0,
      },
      running: new Set(),
    };
    this.#tasks.set(id, task);
    const start = (): Promise<void> => this.#start(id, task, ending);
    return urgency === 'stop' ? start() : this.#slots(start);
  }

  async #start(id: string, task: Task, ending: AbortSignal): Promise<void> {
    if (task.isStarted) return;
    task.isStarted = true;
    await this.#work(id, task, ending);
  }

  async #work(id: string, task: Task, ending: AbortSignal): Promise<void> {
    const { clock, log } = this.#parts;
    let { known } = task;
    task.known = undefined;
    for (let failures = 0; !ending.aborted; ) {
      try {
        const left = task.again ? undefined : known;
        known = undefined;
        if (this.isOurs(id)) known = await this.#advance(id, task, left);
        failures = 0;
        if (!known && (!task.again || !this.isOurs(id))) {
          // In the same tick, so that the next notice creates a new task.
          this.#forget(id, task.version);
          return;
        }
      } catch (error) {
        if (error instanceof Interrupted) continue;
        failures += 1;
        log.warn('machine is tried again', { vm: id, error, failures });
        const waitMs = Math.min(backoffMsMax, backoffMsMin * 2 ** (failures - 1));
        await clock.sleep(waitMs, task.interrupt.signal);
      }
    }
  }

  #forget(id: string, version: number): void {
    this.#tasks.delete(id);
    const seen = Math.max(version, this.#seen.get(id) ?? 0);
    this.#seen.delete(id);
    this.#seen.set(id, seen);
    const [oldest] = this.#seen.keys();
    if (oldest !== undefined && this.#seen.size > rememberedMax) this.#seen.delete(oldest);
    if (this.hasRoom()) this.#roomy.resolve();
  }

  /**
   * One process.
   * @param known the machine as the process before left it, unless a notice arrived since
   * @returns the machine as it is then; undefined when there is nothing to do
   */
  async #advance(id: string, task: Task, known: Loaded<Vm> | undefined): Promise<Loaded<Vm> | undefined> {
    const { vms } = this.#parts;
    task.again = false;
    task.isAtWork = false;
    task.interrupt = new AbortController();
    const { signal } = task.interrupt;
    const loaded = known ?? (await vms.load(id));
    task.version = loaded.version;
    // A notice that arrived during the read starts over, before anything is done that it would interrupt.
    if (signal.aborted) throw new Interrupted('another notice arrived');
    const next = this.isOurs(id) ? nextProcess(this.#parts, loaded) : undefined;
    if (!next) return undefined;
    task.isAtWork = currentWork(loaded.state) !== undefined;
    const earlier = [...task.running];
    const settled = async (): Promise<void> => {
      await orInterrupted(Promise.allSettled(earlier), signal);
    };
    const options = {
      attributes: { [DomainAttribute.virtualMachine]: id },
      count: 'interlock.vms.count',
      events: next.events,
      parent: contextOfWork(next.work ?? {}),
    };
    const run = this.#spans(next.name, options, () => next.carryOut({ signal, settled }));
    task.running.add(run);
    const ended = (): boolean => task.running.delete(run);
    void run.then(ended, ended);
    const after = (await orInterrupted(run, signal)) ?? (await vms.load(id));
    // A run changes the machine, unless it was interrupted between its last commit and its end, or another replica was faster.
    if (after.version === loaded.version) throw new Error(`"${next.name}" stored nothing`);
    return after;
  }
}
