import { type Commit, type EventStore, StoreUnavailable } from '@interlock/event-store';
import type { SeededRandom, VirtualClock } from '@interlock/runtime';
import type { StoreFaults } from './fault-rates.ts';
import type { Gate } from './gate.ts';

/** How long a process waits for a store it is cut off from before it gives up. */
const CONNECT_TIMEOUT_MS = 1_000;

/** How one process reaches a store. */
export interface StoreLink {
  readonly clock: VirtualClock;
  readonly random: SeededRandom;
  readonly faults: StoreFaults;
  readonly gate: Gate;
  /** Whether the process and the store do not reach each other now. */
  readonly isCut: () => boolean;
}

/** A store as one process sees it over a connection that fails: refused, unknown, late and unreachable. */
export const faultyStore = (inner: EventStore, link: StoreLink): EventStore => {
  const { clock, random, faults, gate, isCut } = link;
  const passing = (durationMs: number): Promise<void> => clock.sleep(durationMs);
  const late = (): Promise<void> | undefined =>
    random.chance(faults.delay) ? passing(random.fraction() * faults.delayMs) : undefined;
  const unreachable = async (): Promise<never> => {
    await passing(CONNECT_TIMEOUT_MS);
    throw new StoreUnavailable('the store does not answer');
  };

  /** A store in memory answers before anything else can happen: there is nothing to hold back when nothing goes wrong. */
  const isFree = (): boolean => gate.isOpen() && !isCut();
  const isCommitSure = (): boolean => faults.refuse === 0 && faults.storeAndFail === 0 && faults.delay === 0;

  const read = <Result>(work: () => Promise<Result>): Promise<Result> => {
    if (faults.failRead === 0 && isFree()) return work();
    if (isCut()) return gate.through(unreachable());
    if (random.chance(faults.failRead)) return gate.through(Promise.reject(new StoreUnavailable('the read failed')));
    return gate.through(work());
  };
  /** By cursor: until the last commit that moves it has arrived. A process's moves of one cursor do not overtake each other. */
  const moving = new Map<string, Promise<void>>();
  const isOvertaking = ({ cursors = [] }: Commit): boolean => cursors.some(({ name }) => moving.has(name));
  /** Takes a turn for every cursor of the commit. @returns what to wait for before arriving, and what to call then */
  const turnOf = ({ cursors = [] }: Commit): { readonly before: Promise<unknown>; readonly arrived: () => void } => {
    const { promise, resolve } = Promise.withResolvers<void>();
    const before = Promise.all(cursors.map(({ name }) => moving.get(name)));
    for (const { name } of cursors) moving.set(name, promise);
    const arrived = (): void => {
      for (const { name } of cursors) if (moving.get(name) === promise) moving.delete(name);
      resolve();
    };
    return { before, arrived };
  };
  const commit: EventStore['commit'] = async (wish, cause) => {
    const { before, arrived } = turnOf(wish);
    try {
      if (isCut()) return await unreachable();
      if (random.chance(faults.refuse)) throw new StoreUnavailable('refused');
      await late();
      await before;
      if (isCut()) return await unreachable();
      const stored = await inner.commit(wish, cause);
      arrived();
      await late();
      if (isCut() || random.chance(faults.storeAndFail)) throw new StoreUnavailable('stored without acknowledgement');
      return stored;
    } finally {
      arrived();
    }
  };
  const waitForEvents = async (position: number, signal: AbortSignal): Promise<boolean> => {
    let isWoken = await inner.waitForEvents(position, signal);
    while (isWoken && isCut() && !signal.aborted) await clock.sleep(CONNECT_TIMEOUT_MS, signal);
    isWoken = !signal.aborted;
    if (isWoken && random.chance(faults.lateWake)) await clock.sleep(random.fraction() * faults.delayMs, signal);
    return !signal.aborted;
  };

  return {
    commit: (wish, cause) =>
      isCommitSure() && isFree() && !isOvertaking(wish) ? inner.commit(wish, cause) : gate.through(commit(wish, cause)),
    read: (stream, after) => read(() => inner.read(stream, after)),
    readStreams: (query) => read(() => inner.readStreams(query)),
    feed: (after, limit) => read(() => inner.feed(after, limit)),
    head: () => read(() => inner.head()),
    waitForEvents: (position, signal) => gate.through(waitForEvents(position, signal)),
    getRows: (table, keys) => read(() => inner.getRows(table, keys)),
    listRows: (query) => read(() => inner.listRows(query)),
    getStates: (table, ids) => read(() => inner.getStates(table, ids)),
    streamsBehind: (query) => read(() => inner.streamsBehind(query)),
    renewRows: (renewals) => read(() => inner.renewRows(renewals)),
    cursor: (name) => read(() => inner.cursor(name)),
    // The store belongs to the world and outlives the process.
    close: async () => undefined,
  };
};
