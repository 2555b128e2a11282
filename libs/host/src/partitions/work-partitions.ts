import type { EventStore } from '@interlock/event-store';
import {
  type Clock,
  type ClockReading,
  failureLog,
  type Logger,
  leftMs,
  readingOf,
  usableUntil,
} from '@interlock/runtime';
import {
  type Division,
  emptyDivision,
  type Heartbeat,
  isOtherFolder,
  partitionsOf,
  surplusOf,
  withFolder,
  withHeartbeat,
  withoutMember,
} from './division.ts';
import { DivisionRow } from './division-row.ts';
import { listReplicas, type Replica } from './replicas.ts';
import { SilenceWatch } from './silence-watch.ts';

/** Work that one replica of a service does at a time, divided into partitions. */
export interface WorkPartitions {
  /**
   * Registers a partition, `<kind>/<rest>`, under the same name in every replica. `work` starts when this replica becomes its
   * owner. When it is not the owner any more, `signal` is aborted, and `work` resolves once all of it has ended. Only then another
   * replica starts it; if this one became silent, after its time is over. Call it before `run`.
   */
  keep(partition: string, work: (signal: AbortSignal) => Promise<void>): void;
  /** Whether this replica owns the partition now. Check it right before and after work that no other replica may do. */
  holds(partition: string): boolean;
  /** Takes part until `signal` is aborted, then releases everything. */
  run(signal: AbortSignal): Promise<void>;
  /**
   * Records the folder of this process as the one of the service's host, if none is recorded or if the recorded one is lost.
   * From then on this process takes part only while its folder is the recorded one. Call it before `run`.
   * @returns `undefined` once this folder is the host's; otherwise the id of the recorded folder: then never call `run`
   */
  claimFolder(claim: FolderClaim): Promise<string | undefined>;
  /** Reports that this process is not ready because it has another folder than the host's, until `signal` is aborted. */
  waitWithOtherFolder(signal: AbortSignal): Promise<void>;
  /** The processes of the service by their heartbeats, by name: for operators, and up to a `ttl` old. */
  replicas(): Promise<readonly Replica[]>;
}

/** A process claims its folder as the one of the service's host. */
export interface FolderClaim {
  /** Id of the folder of this process. */
  readonly folder: string;
  /** Id of a folder that is lost for good, as an operator says: if it is the recorded one, `folder` replaces it. */
  readonly lost?: string | undefined;
  /** Called once when another folder replaces this one: this process must end. */
  readonly onReplaced: () => void;
}

/** What dividing work needs. */
export interface WorkPartitionsOptions {
  readonly store: EventStore;
  readonly clock: Clock;
  readonly log: Logger;
  /** Name of this replica. A process of the same name takes over from the one before it without a wait. */
  readonly replica: string;
  /** Id of this process. */
  readonly process: string;
  /** How long a heartbeat is valid, in milliseconds; default 5,000. */
  readonly ttlMs?: number;
}

/** Default validity of a heartbeat, in milliseconds: after this time other replicas do the work of a replica that died. */
export const HEARTBEAT_TTL_DEFAULT_MS = 5_000;

/** Heartbeats within the time to live: some may be lost, and the others are checked as often. */
const BEATS_PER_TTL = 4;

/**
 * Divides work among the replicas of a service by one row in its store. Each replica sends a heartbeat every quarter of its time to
 * live. The cursor beside the row makes each change conditional on the one before: of a heartbeat and another replica's finding
 * that its sender is silent only one is stored. A replica counts its time from before it sends, the others from when they saw the
 * heartbeat, so it stops before another starts. A process that is suspended may still complete one operation late: what must not
 * happen twice is also conditional by itself (cursors, versions, numbered opens).
 */
export const openWorkPartitions = (options: WorkPartitionsOptions): WorkPartitions => {
  const replicated = new Replicated(options);
  return {
    keep: (partition, work) => replicated.keep(partition, work),
    holds: (partition) => replicated.holds(partition),
    run: (signal) => replicated.run(signal),
    claimFolder: (claim) => replicated.claimFolder(claim),
    waitWithOtherFolder: (signal) => replicated.waitWithOtherFolder(signal),
    replicas: () => replicated.replicas(),
  };
};

/** Running work of a partition. */
interface Running {
  readonly ending: AbortController;
  readonly ended: Promise<void>;
}

class Replicated implements WorkPartitions {
  readonly #options: WorkPartitionsOptions;
  readonly #ttlMs: number;
  readonly #row: DivisionRow;
  readonly #silence: SilenceWatch;
  readonly #works = new Map<string, (signal: AbortSignal) => Promise<void>>();
  readonly #running = new Map<string, Running>();
  readonly #released = new Set<string>();
  #owned: ReadonlySet<string> = new Set();
  /** Until when this replica may work; undefined before the first heartbeat. */
  #end: ClockReading | undefined;
  /** Aborted for an early heartbeat. */
  #wake = new AbortController();
  #beat = 0;
  #claim: FolderClaim | undefined;
  #isReplaced = false;

  constructor(options: WorkPartitionsOptions) {
    this.#options = options;
    this.#ttlMs = options.ttlMs ?? HEARTBEAT_TTL_DEFAULT_MS;
    this.#row = new DivisionRow(options.store, options.process);
    this.#silence = new SilenceWatch(options.clock, options.process);
  }

  keep(partition: string, work: (signal: AbortSignal) => Promise<void>): void {
    this.#works.set(partition, work);
  }

  holds(partition: string): boolean {
    const isCurrent = this.#end !== undefined && leftMs(this.#end, readingOf(this.#options.clock)) > 0;
    return isCurrent && this.#owned.has(partition);
  }

  async run(signal: AbortSignal): Promise<void> {
    if (this.#works.size === 0) return;
    await Promise.all([this.#takePart(signal), this.#watchTime(signal)]);
    await this.#leave();
  }

  async claimFolder(claim: FolderClaim): Promise<string | undefined> {
    const after = await this.#row.change((before) => withFolder(before, claim.folder, claim.lost));
    if (isOtherFolder(after ?? emptyDivision, claim.folder)) return after?.folder;
    this.#claim = claim;
    return undefined;
  }

  waitWithOtherFolder(signal: AbortSignal): Promise<void> {
    const { replica, process: run } = this.#options;
    return this.#waitBeside(`${replica}-${run.slice(0, 8)}`, signal);
  }

  async replicas(): Promise<readonly Replica[]> {
    return listReplicas(await this.#row.read());
  }

  // Taking part

  async #takePart(signal: AbortSignal): Promise<void> {
    const { clock, log, replica } = this.#options;
    const attempts = failureLog({ log, clock, failing: 'heartbeats fail', back: 'heartbeats succeed again' });
    while (!signal.aborted) {
      this.#wake = new AbortController();
      try {
        if (await this.#sendHeartbeat()) attempts.succeeded();
        else {
          this.#endWorkExcept(new Set());
          if (this.#isReplaced) return;
          attempts.failed(new Error('another process has the name of this replica, so this one owns no partitions'));
        }
        await clock.sleep(this.#ttlMs / BEATS_PER_TTL, signal, this.#wake.signal);
      } catch (error) {
        attempts.failed(error, { replica });
        await clock.sleep(this.#ttlMs / 10, signal);
      }
    }
  }

  /** Sends one heartbeat, and starts and ends work accordingly. @returns false if another process took the place of this one */
  async #sendHeartbeat(): Promise<boolean> {
    const { clock, replica } = this.#options;
    const sentAt = readingOf(clock);
    const partitions = [...this.#works.keys()];
    const division = await this.#changeAsOwner((before) =>
      withHeartbeat(before, {
        ...this.#heartbeat(before, replica),
        partitions,
        folder: this.#claim?.folder,
        released: this.#released,
      }),
    );
    if (division === undefined) return false;
    this.#released.clear();
    this.#end = usableUntil(sentAt, this.#ttlMs);
    const surplus = new Set(surplusOf(division, replica, partitions));
    this.#endWorkExcept(new Set(partitionsOf(division, replica).filter((partition) => !surplus.has(partition))));
    for (const partition of surplus) if (!this.#running.has(partition)) this.#released.add(partition);
    for (const partition of this.#owned) if (!this.#running.has(partition)) this.#start(partition);
    if (this.#released.size > 0) this.#wake.abort();
    return true;
  }

  /** The common part of every heartbeat. A beat is never sent twice, even if others have removed this replica meanwhile. */
  #heartbeat(before: Division, me: string): Omit<Heartbeat, 'partitions' | 'released'> {
    const { process: run, clock } = this.#options;
    const silent = this.#silence.silentIn(before);
    const ended = this.#silence.endedIn(silent);
    this.#beat += 1;
    return { me, run, beat: this.#beat, ttlMs: this.#ttlMs, silent, ended, now: clock.now() };
  }

  /** Changes the row as a replica that works. @returns undefined if another process has the name of this replica */
  #changeAsOwner(next: (before: Division) => Division): Promise<Division | undefined> {
    const { replica, process: run } = this.#options;
    return this.#row.change((before) => {
      if (isOtherFolder(before, this.#claim?.folder)) return this.#endAsReplaced();
      // The newer process wrote its name last. If that is not this one, this one waits until the newer one has ended.
      const namesake = before.members[replica];
      const isReplaced = this.#end !== undefined && namesake !== undefined && namesake.run !== run;
      return isReplaced && !this.#silence.silentIn(before).has(replica) ? undefined : next(before);
    });
  }

  #endAsReplaced(): undefined {
    if (this.#isReplaced) return;
    this.#isReplaced = true;
    this.#options.log.error('another folder was recorded as the host folder in place of this one: this process ends', {
      folder: this.#claim?.folder,
    });
    this.#claim?.onReplaced();
  }

  #endWorkExcept(kept: ReadonlySet<string>): void {
    this.#owned = kept;
    for (const [partition, { ending }] of this.#running) if (!kept.has(partition)) ending.abort();
  }

  #start(partition: string): void {
    const work = this.#works.get(partition);
    if (work === undefined) return;
    const ending = new AbortController();
    const run = async (): Promise<void> => {
      try {
        await work(ending.signal);
      } catch (error) {
        this.#options.log.error('work of a partition failed', { partition, error });
      }
      this.#running.delete(partition);
      // Work that ended by itself starts again with the next heartbeat.
      if (!ending.signal.aborted) return;
      this.#released.add(partition);
      this.#wake.abort();
    };
    // In a later step, when it is registered as running.
    this.#running.set(partition, { ending, ended: Promise.resolve().then(run) });
  }

  /** Ends the work of this replica when its last heartbeat is no longer valid: other replicas may start it. */
  async #watchTime(signal: AbortSignal): Promise<void> {
    const { clock, log, replica } = this.#options;
    while (!signal.aborted) {
      const left = this.#end === undefined ? this.#ttlMs : leftMs(this.#end, readingOf(clock));
      if (left <= 0 && this.#owned.size > 0) {
        log.warn('this replica sent no heartbeat in time: others may own its partitions', { replica });
        this.#endWorkExcept(new Set());
      }
      await clock.sleep(left > 0 ? left : this.#ttlMs / BEATS_PER_TTL, signal);
    }
  }

  // Leaving

  /**
   * Releases each partition as soon as its work has ended, however long another one takes, and sends heartbeats meanwhile: no other
   * replica may start work that has not ended.
   */
  async #leave(): Promise<void> {
    const { clock, log, replica, process: run } = this.#options;
    this.#endWorkExcept(new Set());
    while (this.#running.size > 0) {
      this.#wake = new AbortController();
      await this.#releaseEnded().catch((error: unknown) =>
        log.warn('the release of partitions was not stored: others wait for them', { replica, error }),
      );
      await clock.sleep(this.#ttlMs / BEATS_PER_TTL, this.#wake.signal);
    }
    const left = this.#isReplaced
      ? this.#row.change((before) =>
          before.members[replica]?.run === run ? withoutMember(before, replica) : undefined,
        )
      : this.#changeAsOwner((before) => withoutMember(before, replica));
    await left.catch((error: unknown) =>
      log.warn('partitions were not released: others wait until this replica is silent', { replica, error }),
    );
  }

  #releaseEnded(): Promise<Division | undefined> {
    const { replica } = this.#options;
    return this.#changeAsOwner((before) => {
      const ended = partitionsOf(before, replica).filter((partition) => !this.#running.has(partition));
      return withHeartbeat(before, { ...this.#heartbeat(before, replica), partitions: [], released: new Set(ended) });
    });
  }

  // Waiting while other replicas work

  async #waitBeside(name: string, signal: AbortSignal): Promise<void> {
    const { clock, log, replica } = this.#options;
    const attempts = failureLog({
      log,
      clock,
      failing: 'heartbeats of this waiting process fail',
      back: 'heartbeats of this waiting process succeed again',
    });
    while (!signal.aborted) {
      try {
        await this.#row.change((before) => {
          const heartbeat = this.#heartbeat(before, name);
          // Whether the process that works under this name has ended is decided by its lock, not by its silence.
          const silent = new Set([...heartbeat.silent].filter((one) => one !== replica));
          const ended = this.#silence.endedIn(silent);
          const none = { partitions: [], released: new Set<string>() };
          return withHeartbeat(before, { ...heartbeat, silent, ended, ...none, hasOtherFolder: true });
        });
        attempts.succeeded();
      } catch (error) {
        attempts.failed(error, { replica: name });
      }
      await clock.sleep(this.#ttlMs / BEATS_PER_TTL, signal);
    }
    await this.#row
      .change((before) => withoutMember(before, name))
      .catch((error: unknown) =>
        log.warn('the end of this waiting process was not stored: others show it as gone', { replica: name, error }),
      );
  }
}
