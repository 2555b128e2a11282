import type { Loaded } from '@interlock/event-store';
import { contextFromTraceparent, DomainAttribute, sharedSpans } from '@interlock/runtime';
import type { Tracer } from '@opentelemetry/api';
import { isToBeClosed } from '../vm/decider.ts';
import { currentWork, type Vm } from '../vm/state.ts';
import { attaching, detaching } from './attachment.ts';
import { closing } from './closing.ts';
import { creation } from './creation.ts';
import { Interrupted, limiter, orInterrupted } from './disks.ts';
import { shareOf } from './machine-shares.ts';
import { starting } from './starting.ts';
import type { Busy, ProcessParts, StepContext } from './step.ts';
import { deallocating, deleting, stopping } from './stopping.ts';

/**
 * Carries out what was decided about machines, each on its own, one step at a time. Where machines have guests it works only
 * on those of the shares that it serves, and lets what is said about others pass.
 */
export interface Engine {
  /** These machines may have something to do. Safe to say twice, and about any machine. */
  kick(ids: readonly string[]): void;
  /**
   * The same, of machines as they were stored a moment ago: they are not read again, as long as there is room. What was begun
   * with one does not wait for the disks of an earlier stop to be closed.
   */
  begun(machines: readonly Loaded<Vm>[]): void;
  /** The same, and whatever is being done with them now is cut short: they are to be stopped. */
  preempt(ids: readonly string[]): void;
  /** The same about one, for whoever saw what was decided: nothing is cut short that began after that version was stored. */
  heard(id: string, version: number, news: News): void;
  /** Whether this replica works on a machine now. */
  isOurs(id: string): boolean;
  /**
   * Works on the machines of a share until `signal` is aborted, and resolves once nothing of that goes on. What was begun
   * with them before has to be said to it again: see `onServed`.
   */
  serve(share: string, signal: AbortSignal): Promise<void>;
  /** Calls `listener` whenever a share begins to be served. */
  onServed(listener: () => void): void;
  /** Whether it has less to do than what a fleet leaves behind: whoever has work that can wait asks before bringing more. */
  hasRoom(): boolean;
  /** Resolves once it has room, or when `signal` is aborted. */
  room(signal: AbortSignal): Promise<void>;
  /** Works until `signal` is aborted; what is not finished then is resumed by the next run. */
  run(signal: AbortSignal): Promise<void>;
}

/** What is said of a machine. `stop` cuts short whatever is done with it, `work` only that its disks are closed, `look` nothing. */
export type News = 'look' | 'work' | 'stop';

/** Machines worked on at once, those being stopped for a key aside: none of them ever waits for another (VM-45). */
const machinesMax = 1_024;
/** Machines in hand from which on there is no room for what can wait: bounds the memory, and keeps every turn taken. */
const roomMax = 2_000;
const backoffMsMin = 100;
const backoffMsMax = 5_000;

interface Task {
  /** The machine as whoever spoke of it first knew it, until it is worked on. */
  known: Loaded<Vm> | undefined;
  /** Set when something was said about the machine since it was read. */
  again: boolean;
  /** Cuts the running step short. */
  interrupt: AbortController;
  /** False while it waits for its turn. */
  isStarted: boolean;
  /** Whether the running step carries out what was decided: to close the disks of a machine that is off gives way to that. */
  isAtWork: boolean;
  /** Of the machine as the running step found it. */
  version: number;
  /** Steps that have not really ended yet, interrupted ones included. */
  readonly running: Set<Promise<unknown>>;
}

/** Somebody spoke of a machine. */
interface Waiting {
  readonly news: News;
  readonly known: Loaded<Vm> | undefined;
}

type Next = {
  readonly name: string;
  readonly traceparent: string | undefined;
  run(context: StepContext): Promise<Loaded<Vm> | undefined>;
};

/** What is to be done next with a machine; `undefined`: nothing. */
const nextFor = (parts: ProcessParts, vm: string, state: Vm): Next | undefined => {
  if (state.status === 'creating') {
    return named('create', state.work.traceparent, (context) => creation(parts)(vm, state, context));
  }
  if (state.status !== 'active') return undefined;
  const { work } = state.power;
  if (work === undefined) {
    return isToBeClosed(state)
      ? named('close disks of', undefined, (context) => closing(parts)(vm, state, context))
      : undefined;
  }
  const busy: Busy = { ...state, work };
  const step = stepOf(busy);
  return named(work.kind, work.traceparent, (context) => step(parts)(vm, busy, context));
};

const named = (kind: string, traceparent: string | undefined, run: Next['run']): Next => ({
  name: `${kind} virtual machine`,
  traceparent,
  run,
});

/** Whether something was decided that is not carried out yet. */
const hasWork = (state: Vm): boolean => currentWork(state) !== undefined;

const strongest = (news: News, before: News = 'look'): News => {
  if (news === 'stop' || before === 'stop') return 'stop';
  return news === 'work' || before === 'work' ? 'work' : 'look';
};

const stepOf = ({ work, power: { state: power } }: Busy) => {
  if (work.kind === 'delete') return deleting;
  if (work.kind === 'attach') return attaching;
  if (work.kind === 'detach') return detaching;
  if (power === 'deallocating') return deallocating;
  return power === 'starting' ? starting : stopping;
};

/**
 * The loop behind all processes. A state says what comes next, a step does it and records the outcome, and that is all
 * that is remembered: a crash at any point is followed by the same step again.
 */
export const createEngine = (parts: ProcessParts & { readonly tracer: Tracer }): Engine => {
  const { vms, driver, clock, log, tracer } = parts;
  // What is begun with many machines at once, and for one cause, is one step of that.
  const spans = sharedSpans(tracer);
  const served = new Set<string>();
  const servedListeners: (() => void)[] = [];
  const tasks = new Map<string, Task>();
  const turns = limiter(machinesMax);
  let waiting = new Map<string, Waiting>();
  let woken = Promise.withResolvers<void>();
  let roomy = Promise.withResolvers<void>();

  const hasRoom = (): boolean => tasks.size + waiting.size < roomMax;
  const forget = (id: string): void => {
    tasks.delete(id);
    if (hasRoom()) roomy.resolve();
  };

  /** Of machines without guests any replica may do the work of any: what is done twice is done once. */
  const isOurs = (id: string): boolean => !driver.hasGuests || served.has(shareOf(id));

  const enqueue = (id: string, news: News, known?: Loaded<Vm>): void => {
    if (!isOurs(id)) return;
    const before = waiting.get(id);
    // Of two who speak of it nobody knows who is the later, so it is read.
    waiting.set(id, { news: strongest(news, before?.news), known: before ? undefined : known });
    woken.resolve();
  };

  /**
   * One step.
   * @param known the machine as it was read after the step before, unless something was said about it since
   * @returns the machine as it is then; undefined when there is nothing to do
   */
  const advance = async (id: string, task: Task, known: Loaded<Vm> | undefined): Promise<Loaded<Vm> | undefined> => {
    task.again = false;
    task.isAtWork = false;
    task.interrupt = new AbortController();
    const { signal } = task.interrupt;
    const loaded = known ?? (await vms.load(id));
    const { state, version } = loaded;
    task.version = version;
    // What came up while it was read begins anew, before anything is done that it would cut short.
    if (signal.aborted) throw new Interrupted('something else came up');
    const next = isOurs(id) ? nextFor(parts, id, state) : undefined;
    if (!next) return undefined;
    task.isAtWork = hasWork(state);
    const earlier = [...task.running];
    const settled = async (): Promise<void> => {
      await orInterrupted(Promise.allSettled(earlier), signal);
    };
    const options = {
      attributes: { [DomainAttribute.virtualMachine]: id },
      count: 'interlock.vms.count',
      parent: contextFromTraceparent(next.traceparent),
    };
    const step = spans(next.name, options, () => next.run({ signal, settled, loaded }));
    task.running.add(step);
    const ended = (): boolean => task.running.delete(step);
    void step.then(ended, ended);
    const after = (await orInterrupted(step, signal)) ?? (await vms.load(id));
    // Interrupted between its last commit and its end, or somebody else was faster: else a step changes something.
    if (after.version === version) throw new Error(`nothing came of "${next.name}"`);
    return after;
  };

  const work = async (id: string, task: Task, ending: AbortSignal): Promise<void> => {
    let { known } = task;
    task.known = undefined;
    for (let failures = 0; !ending.aborted; ) {
      try {
        const left = task.again ? undefined : known;
        known = undefined;
        if (isOurs(id)) known = await advance(id, task, left);
        failures = 0;
        if (!known && (!task.again || !isOurs(id))) {
          // At once, so that what is said from now on begins anew.
          forget(id);
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
  };

  const begin = (id: string, { news, known }: Waiting, ending: AbortSignal): Promise<void> | undefined => {
    const start = async (task: Task): Promise<void> => {
      if (task.isStarted) return;
      task.isStarted = true;
      await work(id, task, ending);
    };
    const existing = tasks.get(id);
    if (existing) {
      existing.again = true;
      if (news === 'stop' || (news === 'work' && !existing.isAtWork)) existing.interrupt.abort();
      return news === 'stop' ? start(existing) : undefined;
    }
    const task: Task = {
      known,
      again: false,
      interrupt: new AbortController(),
      isStarted: false,
      isAtWork: false,
      version: 0,
      running: new Set(),
    };
    tasks.set(id, task);
    return news === 'stop' ? start(task) : turns(() => start(task));
  };

  return {
    kick(ids) {
      for (const id of ids) enqueue(id, 'look');
    },
    begun(machines) {
      for (const machine of machines) {
        // A fleet whose machines are known by their names alone takes a tenth of the memory while it waits.
        enqueue(machine.id, hasWork(machine.state) ? 'work' : 'look', hasRoom() ? machine : undefined);
      }
    },
    preempt(ids) {
      for (const id of ids) enqueue(id, 'stop');
    },
    heard(id, version, news) {
      if ((tasks.get(id)?.version ?? 0) < version) enqueue(id, news);
    },
    isOurs,
    onServed: (listener) => {
      servedListeners.push(listener);
    },
    async serve(share, signal) {
      served.add(share);
      for (const listener of servedListeners) listener();
      if (!signal.aborted) {
        await new Promise<void>((resolve) => signal.addEventListener('abort', () => resolve(), { once: true }));
      }
      served.delete(share);
      const left = [...tasks].flatMap(([id, task]) => (shareOf(id) === share ? [task] : []));
      for (const { interrupt } of left) interrupt.abort();
      while (left.some(({ running }) => running.size > 0)) {
        await Promise.allSettled(left.flatMap(({ running }) => [...running]));
      }
    },
    hasRoom,
    async room(signal) {
      const leave = (): void => roomy.resolve();
      signal.addEventListener('abort', leave, { once: true });
      while (!hasRoom() && !signal.aborted) {
        roomy = Promise.withResolvers();
        await roomy.promise;
      }
      signal.removeEventListener('abort', leave);
    },
    async run(ending) {
      const all = new Set<Promise<void>>();
      const end = (): void => {
        for (const { interrupt } of tasks.values()) interrupt.abort();
        woken.resolve();
      };
      ending.addEventListener('abort', end, { once: true });
      while (!ending.aborted) {
        await woken.promise;
        woken = Promise.withResolvers();
        if (ending.aborted) break;
        const batch = waiting;
        waiting = new Map();
        for (const [id, said] of batch) {
          const done = begin(id, said, ending);
          if (!done) continue;
          all.add(done);
          void done.finally(() => all.delete(done));
        }
      }
      await Promise.all(all);
    },
  };
};
