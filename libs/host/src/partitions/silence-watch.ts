import { ageMs, type Clock, type ClockReading, readingOf, waitedOutMs } from '@interlock/runtime';
import type { Division } from './division.ts';

/** The last known heartbeat of another replica. */
interface Seen {
  readonly heartbeat: string;
  readonly at: ClockReading;
  /** Whether it was valid when it was first seen, or a newer one has followed. */
  readonly isLive: boolean;
}

/** Finds out which members are silent, by this process's own clock: it counts from when it saw their last heartbeat. */
export class SilenceWatch {
  readonly #clock: Clock;
  readonly #process: string;
  readonly #seen = new Map<string, Seen>();

  /** @param process id of this process, which is never silent for itself */
  constructor(clock: Clock, process: string) {
    this.#clock = clock;
    this.#process = process;
  }

  /** Members without a new heartbeat for their whole time to live, since this process watches them. */
  silentIn({ members }: Division): ReadonlySet<string> {
    const now = readingOf(this.#clock);
    const silent = new Set<string>();
    for (const [name, { run, beat, at, ttlMs }] of Object.entries(members)) {
      const heartbeat = `${run} ${beat}`;
      const known = this.#seen.get(name);
      if (known?.heartbeat !== heartbeat) {
        const isLive = known !== undefined || this.#clock.now() - at < ttlMs;
        this.#seen.set(name, { heartbeat, at: now, isLive });
      } else if (run !== this.#process && ageMs(known.at, now) > waitedOutMs(ttlMs)) silent.add(name);
    }
    for (const name of this.#seen.keys()) if (!(name in members)) this.#seen.delete(name);
    return silent;
  }

  /** Those that lived while this process watched. Others ended before it started, for example with all of the service. */
  endedIn(silent: ReadonlySet<string>): ReadonlySet<string> {
    return new Set([...silent].filter((name) => this.#seen.get(name)?.isLive === true));
  }
}
