import { type Cause, CursorConflict, type EventStore, table } from '@interlock/event-store';
import {
  ageMs,
  type Clock,
  type ClockReading,
  failureLog,
  type Logger,
  leftMs,
  readingOf,
  usableUntil,
  waitedOutMs,
} from '@interlock/runtime';
import {
  type Division,
  isOtherFolder,
  leftBy,
  noDivision,
  sharesOf,
  surplusOf,
  type Word,
  withFolder,
  wordOf,
} from './division.ts';

/** Work that one replica of a service does at a time, in shares. */
export interface Shares {
  /**
   * Registers a share, `<kind>/<rest>`, by the same name in every replica. `work` begins whenever this replica comes to have
   * the share, is told by `signal` when it no longer has, and resolves once nothing of it goes on any more. Only then does
   * another replica begin, but where this one fell silent: then after its time is over. Call it before `run`.
   */
  keep(share: string, work: (signal: AbortSignal) => Promise<void>): void;
  /** Whether this replica has the share at this moment: asked right before and after what nobody else may do. */
  holds(share: string): boolean;
  /** Takes part until `signal` is aborted, then gives everything up. */
  run(signal: AbortSignal): Promise<void>;
  /**
   * Says that this process lives and waits for another to end, until `signal` is aborted: then it begins to work in its
   * place (`run`), or ends itself. For processes that take turns under one name.
   */
  standBy(signal: AbortSignal): Promise<void>;
  /**
   * Records the folder of this process as the one of the service's host, if none is recorded or if the recorded one is lost.
   * From then on this process takes part only while its folder is the recorded one. Call it before `run`.
   * @param onReplaced called once when another folder is recorded in place of this one: this process has to end
   * @returns `undefined` once this folder is the host's; otherwise the id of the recorded folder: then never call `run`
   */
  claimFolder(claim: FolderClaim): Promise<string | undefined>;
  /** Says that this process is not ready because it has another folder than the host's, until `signal` is aborted. */
  waitWithOtherFolder(signal: AbortSignal): Promise<void>;
  /** The processes of the service by their own signs of life, by name: for people to see, and up to a `ttl` old. */
  replicas(): Promise<readonly Replica[]>;
}

/** A process asks for its folder to be the one of the service's host. */
export interface FolderClaim {
  /** Id of the folder of this process. */
  readonly folder: string;
  /** Id of a folder that is gone for good, by the word of an operator: where it is the recorded one, `folder` takes its place. */
  readonly lost?: string | undefined;
  readonly onReplaced: () => void;
}

/** A process of a service, as the others know it. */
export interface Replica {
  /** Of its own among those of the service. */
  readonly name: string;
  /**
   * `standby`: it waits for one that works to end. `gone`: it fell silent without leaving, and none came in its place.
   * `other folder`: it is not ready, because it has another folder than the service's host.
   */
  readonly state: 'working' | 'standby' | 'gone' | 'other folder';
  /** How many shares of the work it has. */
  readonly shareCount: number;
  /** When it was found gone, in milliseconds since the epoch. */
  readonly goneAt: number | undefined;
}

/** How long a sign of life is worth by default, in milliseconds: the work of a replica that died is done by others that long after. */
export const shareTtlDefaultMs = 5_000;

/** What is being done on a share. */
interface Doing {
  readonly ending: AbortController;
  readonly ended: Promise<void>;
}

/** What was last seen of another replica. */
interface Seen {
  readonly word: string;
  readonly at: ClockReading;
  /** Whether it lived when it was first seen, or has said something new since. */
  readonly isLive: boolean;
}

/** How often a replica speaks within its time: some words may be lost, and the others look as often. */
const wordsPerTtl = 4;

const rowKey = 'division';
const cursorName = 'replicas';

/**
 * Divides work among the replicas of a service by one row in its store. Each says every quarter of its time that it lives;
 * the cursor beside the row makes each word conditional on the one before, so that of a replica's word and another's finding
 * that it is silent only one is stored. A replica counts its time from before it speaks, the others theirs from when they
 * saw it; so it has stopped before another begins. A process that was stopped in the middle may still do one thing late:
 * whatever must not happen twice is conditional by itself as well (cursors, versions, numbered opens).
 * @param replica name of this replica; a process of the same name takes over from the one before it without a wait
 * @param standbyName name of this process while it stands by, no replica's; by default one made of the replica's and of this process's
 * @param process names this process
 */
export const openShares = (parts: {
  readonly store: EventStore;
  readonly clock: Clock;
  readonly log: Logger;
  readonly replica: string;
  readonly standbyName?: string | undefined;
  readonly process: string;
  readonly ttlMs?: number;
}): Shares => {
  const { store, clock, log, replica: me, standbyName, process: run, ttlMs = shareTtlDefaultMs } = parts;
  const rows = table<Division>(store, { name: 'replicas', version: 1 });
  const cause: Cause = { correlationId: run, causationId: 'shares', caller: 'system:replicas' };
  const works = new Map<string, (signal: AbortSignal) => Promise<void>>();
  const doing = new Map<string, Doing>();
  const seen = new Map<string, Seen>();
  const givenUp = new Set<string>();
  let mine: ReadonlySet<string> = new Set();
  let end: ClockReading | undefined;
  let wake = new AbortController();
  let beat = 0;
  let hasStoodBy = false;
  let claim: FolderClaim | undefined;
  let isReplaced = false;

  const isCurrent = (): boolean => end !== undefined && leftMs(end, readingOf(clock)) > 0;
  const holds = (share: string): boolean => mine.has(share) && isCurrent();

  /** Members that have said nothing new for their whole time, as far as this replica has watched. */
  const silentIn = ({ members }: Division): ReadonlySet<string> => {
    const now = readingOf(clock);
    const silent = new Set<string>();
    for (const [name, member] of Object.entries(members)) {
      const word = `${member.run} ${member.beat}`;
      const known = seen.get(name);
      if (known?.word !== word) {
        const isLive = known !== undefined || clock.now() - member.at < member.ttlMs;
        seen.set(name, { word, at: now, isLive });
      } else if (member.run !== run && ageMs(known.at, now) > waitedOutMs(member.ttlMs)) silent.add(name);
    }
    for (const name of seen.keys()) if (!(name in members)) seen.delete(name);
    return silent;
  };

  /** Of them those whose end is news: what was silent before this process began belongs to another life of the service. */
  const endedIn = (silent: ReadonlySet<string>): ReadonlySet<string> =>
    new Set([...silent].filter((name) => seen.get(name)?.isLive === true));

  /** Changes the row. @returns the division as it is then; undefined when `next` will not */
  const change = async (next: (before: Division) => Division | undefined): Promise<Division | undefined> => {
    for (;;) {
      const words = await store.cursor(cursorName);
      const after = next((await rows.get(rowKey)) ?? noDivision);
      if (after === undefined) return undefined;
      try {
        await store.commit(
          { rows: [rows.put(rowKey, after, undefined)], cursors: [{ name: cursorName, from: words, to: words + 1 }] },
          cause,
        );
        return after;
      } catch (error) {
        if (!(error instanceof CursorConflict)) throw error;
      }
    }
  };

  /** The same by a replica that works. @returns undefined when another process has this replica's name */
  const changeAsOwner = (next: (before: Division) => Division): Promise<Division | undefined> =>
    change((before) => {
      if (isOtherFolder(before, claim?.folder)) return endAsReplaced();
      // The newer process wrote its name last. Where that is not this one, it was replaced, until that one has ended.
      const namesake = before.members[me];
      const isReplaced = end !== undefined && namesake !== undefined && namesake.run !== run;
      return isReplaced && !silentIn(before).has(me) ? undefined : next(before);
    });

  /** Another folder was recorded as the host's in place of this one: this process does nothing any more. */
  const endAsReplaced = (): undefined => {
    if (isReplaced) return;
    isReplaced = true;
    log.error('another folder was recorded as the host folder in place of this one: this process ends', {
      folder: claim?.folder,
    });
    claim?.onReplaced();
  };

  /** Has all work end but on these shares. */
  const keepDoing = (kept: ReadonlySet<string>): void => {
    mine = kept;
    for (const [share, { ending }] of doing) if (!kept.has(share)) ending.abort();
  };

  const begin = (share: string): void => {
    const work = works.get(share);
    if (work === undefined) return;
    const ending = new AbortController();
    const run = async (): Promise<void> => {
      try {
        await work(ending.signal);
      } catch (error) {
        log.error('work on a share failed', { share, error });
      }
      doing.delete(share);
      // What ended by itself begins again with the next word.
      if (!ending.signal.aborted) return;
      givenUp.add(share);
      wake.abort();
    };
    // In a later turn, when it is known as being done.
    doing.set(share, { ending, ended: Promise.resolve().then(run) });
  };

  /** Says once that this replica lives, and begins and ends work accordingly. @returns false where it was replaced */
  const speak = async (): Promise<boolean> => {
    const asked = readingOf(clock);
    const shares = [...works.keys()];
    // Never said twice, not even where others have forgotten this replica meanwhile.
    beat += 1;
    const division = await changeAsOwner((before) => {
      const silent = silentIn(before);
      const now = clock.now();
      const stoodBy = hasStoodBy && end === undefined;
      const ended = endedIn(silent);
      const who = { me, run, standbyName, folder: claim?.folder };
      return wordOf(before, { ...who, beat, ttlMs, shares, silent, ended, stoodBy, givenUp, now });
    });
    if (division === undefined) return false;
    givenUp.clear();
    end = usableUntil(asked, ttlMs);
    const surplus = new Set(surplusOf(division, me, shares));
    keepDoing(new Set(sharesOf(division, me).filter((share) => !surplus.has(share))));
    for (const share of surplus) if (!doing.has(share)) givenUp.add(share);
    for (const share of mine) if (!doing.has(share)) begin(share);
    if (givenUp.size > 0) wake.abort();
    return true;
  };

  /** Ends the work of a replica whose word is too old: others may begin. */
  const watchTime = async (signal: AbortSignal): Promise<void> => {
    while (!signal.aborted) {
      const left = end === undefined ? ttlMs : leftMs(end, readingOf(clock));
      if (left <= 0 && mine.size > 0) {
        log.warn('this replica could not say in time that it lives: its shares are others’ now', { replica: me });
        keepDoing(new Set());
      }
      await clock.sleep(left > 0 ? left : ttlMs / wordsPerTtl, signal);
    }
  };

  const takePart = async (signal: AbortSignal): Promise<void> => {
    const attempts = failureLog({
      log,
      clock,
      failing: 'replicas are not heard of',
      back: 'replicas are heard of again',
    });
    while (!signal.aborted) {
      wake = new AbortController();
      try {
        if (await speak()) attempts.succeeded();
        else {
          keepDoing(new Set());
          if (isReplaced) return;
          attempts.failed(new Error('another process has the name of this replica, which does nothing meanwhile'));
        }
        await clock.sleep(ttlMs / wordsPerTtl, signal, wake.signal);
      } catch (error) {
        attempts.failed(error, { replica: me });
        await clock.sleep(ttlMs / 10, signal);
      }
    }
  };

  /**
   * Gives up what it has as soon as nothing is done on it any more, however long another share takes, and says meanwhile that it
   * lives: what has not ended nobody else may begin.
   */
  const leave = async (): Promise<void> => {
    keepDoing(new Set());
    while (doing.size > 0) {
      wake = new AbortController();
      beat += 1;
      await changeAsOwner((before) => {
        const silent = silentIn(before);
        const word = {
          me,
          run,
          beat,
          ttlMs,
          shares: [],
          silent,
          ended: endedIn(silent),
          standbyName,
          now: clock.now(),
        };
        return wordOf(before, { ...word, givenUp: new Set(sharesOf(before, me).filter((share) => !doing.has(share))) });
      }).catch((error: unknown) => log.warn('others do not hear of what has ended here', { replica: me, error }));
      await clock.sleep(ttlMs / wordsPerTtl, wake.signal);
    }
    const isMine = ({ members }: Division): boolean => members[me]?.run === run;
    const left = isReplaced
      ? change((before) => (isMine(before) ? leftBy(before, me) : undefined))
      : changeAsOwner((before) => leftBy(before, me));
    await left.catch((error: unknown) =>
      log.warn('shares were not given back: others wait for this replica to be silent', { replica: me, error }),
    );
  };

  /** Says that this process lives beside those that work, until `signal` is aborted. */
  const waitBeside = async (signal: AbortSignal, about: Pick<Word, 'hasOtherFolder'> = {}): Promise<void> => {
    const beside = standbyName ?? `${me}-${about.hasOtherFolder === true ? '' : 'standby-'}${run.slice(0, 8)}`;
    const attempts = failureLog({
      log,
      clock,
      failing: 'nobody hears of this process',
      back: 'it is heard of again',
    });
    for (let spoken = 1; !signal.aborted; spoken += 1) {
      try {
        await change((before) => {
          // Whether the one that works has ended its lock says, not its silence.
          const silent = new Set([...silentIn(before)].filter((name) => name !== me));
          const word = { run, beat: spoken, ttlMs, shares: [], givenUp: new Set<string>(), now: clock.now(), ...about };
          return wordOf(before, { ...word, me: beside, silent, ended: endedIn(silent) });
        });
        attempts.succeeded();
      } catch (error) {
        attempts.failed(error, { replica: beside });
      }
      await clock.sleep(ttlMs / wordsPerTtl, signal);
    }
    await change((before) => leftBy(before, beside)).catch((error: unknown) =>
      log.warn('others take this process for one that is gone', { replica: beside, error }),
    );
  };

  return {
    keep(share, work) {
      works.set(share, work);
    },
    holds,
    async run(signal) {
      if (works.size === 0) return;
      await Promise.all([takePart(signal), watchTime(signal)]);
      await leave();
    },
    async claimFolder(wanted) {
      const after = await change((before) => withFolder(before, wanted.folder, wanted.lost));
      if (isOtherFolder(after ?? noDivision, wanted.folder)) return after?.folder;
      claim = wanted;
      return undefined;
    },
    waitWithOtherFolder: (signal) => waitBeside(signal, { hasOtherFolder: true }),
    async standBy(signal) {
      await waitBeside(signal);
      hasStoodBy = true;
    },
    async replicas() {
      const division = (await rows.get(rowKey)) ?? noDivision;
      const { members, gone } = division;
      const there = Object.entries(members).map(([name, { kinds, hasOtherFolder = false }]): Replica => {
        const shareCount = sharesOf(division, name).length;
        if (hasOtherFolder) return { name, state: 'other folder', shareCount, goneAt: undefined };
        // One that is leaving takes part in nothing either, until what it has in hand has ended.
        const state = kinds.length === 0 && shareCount === 0 ? 'standby' : 'working';
        return { name, state, shareCount, goneAt: undefined };
      });
      const left = Object.entries(gone).map(
        ([name, goneAt]): Replica => ({ name, state: 'gone', shareCount: 0, goneAt }),
      );
      return [...there, ...left].sort((a, b) => (a.name < b.name ? -1 : 1));
    },
  };
};
