import { category, type EventStore, memoryStore, StoreUnavailable } from '@interlock/event-store';
import { type Clock, systemClock } from '@interlock/runtime';
import { create } from '../set/decider.ts';
import type { SetEvent } from '../set/events.ts';
import type { DiskEncryptionSet } from '../set/state.ts';
import { sets as setStreams } from '../set/streams.ts';
import type { SetParts } from '../sets.ts';
import { urlOf, versionOf } from './test-neighbour-keys.ts';
import type { Moment } from './test-neighbour-state.ts';
import { type FakeNeighbours, fakeNeighbours } from './test-neighbours.ts';

export const setName = 'subscriptions/s1/resourceGroups/g/diskEncryptionSets/d1';
export const principal = 'principals/00000000-0000-4000-8000-000000000001';
export const testCause = { correlationId: 'test', causes: [], caller: 'system:test' };
/** A stopped clock: time decides no test. */
export const testClock: Clock = { ...systemClock, now: () => 1_000, monotonicMs: () => 0, bootMs: () => 0 };

export const newSet = {
  tenant: 'tenants/main',
  location: 'westeurope',
  encryptionType: 'customer_key',
  principal,
  requestedKey: { keyUrl: urlOf('1'), sourceVault: '' },
  requestedOptions: {
    keyExpiry: 'stop',
    autoRestart: false,
    autoKeyRotation: false,
  },
} as const;
export const keyReference = (digit: string) => ({
  keyVersion: versionOf(digit),
  keyUrl: urlOf(digit),
  sourceVault: 'vaults/kv1',
});

/** Access granted to the identity of the set. */
export const grantAt = (epoch: number) => ({ epoch, principal });

/** Sets in memory with fake neighbours. */
export interface TestSets extends SetParts {
  readonly neighbours: FakeNeighbours;
  readonly store: EventStore;
  /** Types of the events of the set, in order. */
  history(): Promise<string[]>;
  state(): Promise<DiskEncryptionSet>;
  /** Stores a decision on the set. */
  decide(decision: (set: DiskEncryptionSet) => readonly SetEvent[]): Promise<void>;
  /** Makes the commits chosen by number (from 0) fail as an outage of the store does. */
  commitOutage: ((commit: number) => Moment | undefined) | undefined;
  /** How many commits were tried. */
  commits: number;
}

export const testSets = (): TestSets => {
  const memory = memoryStore({ clock: testClock });
  const store: EventStore = {
    ...memory,
    async commit(commit, cause) {
      const number = parts.commits++;
      const moment = parts.commitOutage?.(number);
      if (moment === 'before') throw new StoreUnavailable('down');
      const done = await memory.commit(commit, cause);
      if (moment === 'after') throw new StoreUnavailable('the answer is lost');
      return done;
    },
  };
  const sets = category(store, setStreams);
  const neighbours = fakeNeighbours();
  const parts: TestSets = {
    ...neighbours,
    neighbours,
    store,
    clock: testClock,
    sets,
    requirePurgeProtection: true,
    commitOutage: undefined,
    commits: 0,
    history: async () => (await memory.read(`set-${setName}`)).map(({ type }) => type),
    state: async () => (await sets.load(setName)).state,
    async decide(decision) {
      await sets.transact(setName, decision, testCause);
    },
  };
  return parts;
};

/** Sets in memory with one whose creation has started. */
export const creatingSet = async (): Promise<TestSets> => {
  const parts = testSets();
  await parts.decide(create(1_000, newSet, keyReference('1')));
  return parts;
};

/**
 * Repeats `run` with one outage each time: at each of its calls and commits, before or after their effect. A run that fails is
 * repeated without an outage, as the watchdog would. @returns the number of outages
 */
export const failAtEach = async (
  prepare: () => Promise<TestSets>,
  run: (parts: TestSets) => Promise<void>,
  check: (parts: TestSets) => Promise<void>,
): Promise<number> => {
  let tried = 0;
  for (const seam of ['call', 'commit'] as const) {
    for (const moment of ['before', 'after'] as const) {
      for (let step = 0; ; step++) {
        const parts = await prepare();
        const firstCall = parts.neighbours.calls.length;
        const firstCommit = parts.commits;
        let isHit = false;
        const hit = (reached: number): Moment | undefined => {
          if (isHit || reached !== step) return undefined;
          isHit = true;
          return moment;
        };
        if (seam === 'call') parts.neighbours.outage = (call) => hit(call - firstCall);
        else parts.commitOutage = (commit) => hit(commit - firstCommit);
        let failure: unknown;
        await run(parts).catch((error: unknown) => {
          failure = error;
        });
        if (!isHit && failure !== undefined) throw failure;
        if (failure !== undefined) await run(parts);
        await check(parts);
        if (!isHit) break;
        tried++;
      }
    }
  }
  return tried;
};
