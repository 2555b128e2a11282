import { type Cause, type Commit, type EventStore, StoreUnavailable } from '@interlock/event-store';
import type { SeededRandom, VirtualClock } from '@interlock/runtime';
import type { StoreFaults } from './fault-rates.ts';
import type { Gate } from './gate.ts';

/** How long a process waits for a store it is cut off from, in milliseconds. */
const CONNECT_TIMEOUT_MS = 1_000;

/** The connection of one process to a store. */
export interface StoreLink {
  readonly clock: VirtualClock;
  readonly random: SeededRandom;
  readonly faults: StoreFaults;
  readonly gate: Gate;
  /** Whether the process and the store are cut off from each other now. */
  readonly isCut: () => boolean;
}

/** A connection to a store that fails: refused, unknown, late and unreachable. */
class StoreConnection {
  readonly #inner: EventStore;
  readonly #link: StoreLink;
  /** By cursor: resolves when the last commit that moves it has arrived. A process's moves of one cursor do not overtake one another. */
  readonly #moving = new Map<string, Promise<void>>();

  constructor(inner: EventStore, link: StoreLink) {
    this.#inner = inner;
    this.#link = link;
  }

  read<Result>(work: () => Promise<Result>): Promise<Result> {
    const { random, faults, gate, isCut } = this.#link;
    if (faults.failRead === 0 && this.#isFree()) return work();
    if (isCut()) return gate.through(this.#unreachable());
    if (random.chance(faults.failRead)) return gate.through(Promise.reject(new StoreUnavailable('the read failed')));
    return gate.through(work());
  }

  commit(commit: Commit, cause: Cause): ReturnType<EventStore['commit']> {
    const { faults, gate } = this.#link;
    const isSure = faults.refuse === 0 && faults.storeAndFail === 0 && faults.delay === 0;
    const isOvertaking = (commit.cursors ?? []).some(({ name }) => this.#moving.has(name));
    if (isSure && this.#isFree() && !isOvertaking) return this.#inner.commit(commit, cause);
    return gate.through(this.#commitUnsurely(commit, cause));
  }

  async waitForEvents(position: number, signal: AbortSignal): Promise<boolean> {
    const { clock, random, faults, isCut } = this.#link;
    let isWoken = await this.#inner.waitForEvents(position, signal);
    while (isWoken && isCut() && !signal.aborted) await clock.sleep(CONNECT_TIMEOUT_MS, signal);
    isWoken = !signal.aborted;
    if (isWoken && random.chance(faults.lateWake)) await clock.sleep(random.fraction() * faults.delayMs, signal);
    return !signal.aborted;
  }

  /** A store in memory responds before anything else can happen: without a fault there is nothing to delay. */
  #isFree(): boolean {
    return this.#link.gate.isOpen() && !this.#link.isCut();
  }

  async #unreachable(): Promise<never> {
    await this.#link.clock.sleep(CONNECT_TIMEOUT_MS);
    throw new StoreUnavailable('the store does not respond');
  }

  #delay(): Promise<void> | undefined {
    const { clock, random, faults } = this.#link;
    return random.chance(faults.delay) ? clock.sleep(random.fraction() * faults.delayMs) : undefined;
  }

  async #commitUnsurely(commit: Commit, cause: Cause): ReturnType<EventStore['commit']> {
    const { random, faults, isCut } = this.#link;
    const { before, arrived } = this.#queue(commit);
    try {
      if (isCut()) return await this.#unreachable();
      if (random.chance(faults.refuse)) throw new StoreUnavailable('refused');
      await this.#delay();
      await before;
      if (isCut()) return await this.#unreachable();
      const stored = await this.#inner.commit(commit, cause);
      arrived();
      await this.#delay();
      if (isCut() || random.chance(faults.storeAndFail)) throw new StoreUnavailable('stored without acknowledgement');
      return stored;
    } finally {
      arrived();
    }
  }

  /** Queues the commit for each of its cursors. @returns what to wait for before it arrives, and what to call afterwards */
  #queue({ cursors = [] }: Commit): { readonly before: Promise<unknown>; readonly arrived: () => void } {
    const { promise, resolve } = Promise.withResolvers<void>();
    const before = Promise.all(cursors.map(({ name }) => this.#moving.get(name)));
    for (const { name } of cursors) this.#moving.set(name, promise);
    const arrived = (): void => {
      for (const { name } of cursors) if (this.#moving.get(name) === promise) this.#moving.delete(name);
      resolve();
    };
    return { before, arrived };
  }
}

/** A store for one process, over a connection with faults. */
export const faultyStore = (inner: EventStore, link: StoreLink): EventStore => {
  const connection = new StoreConnection(inner, link);
  const read = <Result>(work: () => Promise<Result>): Promise<Result> => connection.read(work);
  return {
    ...(inner.tracer === undefined ? {} : { tracer: inner.tracer }),
    commit: (commit, cause) => connection.commit(commit, cause),
    read: (stream, after) => read(() => inner.read(stream, after)),
    readStreams: (query) => read(() => inner.readStreams(query)),
    feed: (after, limit) => read(() => inner.feed(after, limit)),
    head: () => read(() => inner.head()),
    waitForEvents: (position, signal) => link.gate.through(connection.waitForEvents(position, signal)),
    getRows: (table, keys) => read(() => inner.getRows(table, keys)),
    listRows: (query) => read(() => inner.listRows(query)),
    countRows: (query) => read(() => inner.countRows(query)),
    getStates: (table, ids) => read(() => inner.getStates(table, ids)),
    streamsBehind: (query) => read(() => inner.streamsBehind(query)),
    renewRows: (renewals) => read(() => inner.renewRows(renewals)),
    cursor: (name) => read(() => inner.cursor(name)),
    // The store belongs to the world and outlives the process.
    close: async () => undefined,
  };
};
