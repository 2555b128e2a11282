import type { Rejection } from '@interlock/event-store';
import { outsideOfCalls, RpcFailure } from '@interlock/rpc';
import type { Clock } from '@interlock/runtime';
import type { PeerProcess } from './assembly.ts';

/**
 * Most calls that this process has under way at one other process. One that accepts calls and never answers then costs this process the
 * memory of so many requests, and no more.
 */
export const callsPerProcessMax = 256;

/** After so many milliseconds without a response the process is probed, and again so long after the start of each probe. */
const patienceMs = 500;

/**
 * How long a probe may take, in milliseconds. A process that does not respond is unreachable 2.5 s after a call at the latest, so that
 * the caller knows within 3 s, its further tries included.
 */
const probeMs = 2_000;

/** A process that does not respond is probed until nothing has called it for so long, in milliseconds. */
const silenceKeptMs = 10_000;

/** What waits for the process: a call that is under way, or a caller whose next call may be for it. */
interface Waiting {
  readonly sinceMs: number;
  readonly giveUp: (error: Rejection) => void;
}

/** What a caller is refused with. */
export interface LinkRefusals {
  /** The process does not respond. */
  unreachable(cause?: unknown): Rejection;
  /** As many calls as are allowed are under way there. */
  busy(limit: number): Rejection;
}

/**
 * The connection to one process that has something that no other process has: a disk host, a VM host. A slow call is waited for as long as its
 * caller waits. If the process does not even respond to a probe meanwhile, all its calls end as `unreachable`. Further calls are refused
 * at once until it responds to a probe: a caller that repeats its call would wait again each time, and 3 s is what the whole of its tries
 * may take.
 */
export class ProcessLink {
  readonly address: string;
  readonly #process: PeerProcess;
  readonly #clock: Pick<Clock, 'sleep' | 'monotonicMs'>;
  readonly #refusals: LinkRefusals;
  readonly #waiting = new Set<Waiting>();
  #callCount = 0;
  #isWatched = false;
  #isSilent = false;
  #isClosed = false;
  /** When something needed the process last. */
  #neededAtMs = 0;

  constructor(parts: {
    readonly address: string;
    readonly process: PeerProcess;
    readonly clock: Pick<Clock, 'sleep' | 'monotonicMs'>;
    readonly refusals: LinkRefusals;
  }) {
    this.address = parts.address;
    this.#process = parts.process;
    this.#clock = parts.clock;
    this.#refusals = parts.refusals;
  }

  /**
   * Calls the process.
   * @param signal the end of the caller
   * @param send makes the call until the signal that it gets is aborted
   * @throws the refusal of the process; `refusals.unreachable`, `refusals.busy`
   */
  async call<Answer>(signal: AbortSignal, send: (link: this, signal: AbortSignal) => Promise<Answer>): Promise<Answer> {
    this.#neededAtMs = this.#clock.monotonicMs();
    if (this.#isSilent) throw this.#refusals.unreachable();
    if (this.#callCount >= callsPerProcessMax) throw this.#refusals.busy(callsPerProcessMax);
    const ending = new AbortController();
    const { promise: silence, reject } = Promise.withResolvers<never>();
    silence.catch(() => undefined);
    const waiting: Waiting = {
      sinceMs: this.#neededAtMs,
      giveUp: (error) => {
        reject(error);
        ending.abort();
      },
    };
    this.#waiting.add(waiting);
    this.#callCount += 1;
    this.#watch();
    try {
      return await Promise.race([silence, send(this, AbortSignal.any([signal, ending.signal]))]);
    } catch (error) {
      throw error instanceof RpcFailure && error.code === 'UNAVAILABLE' ? this.#refusals.unreachable(error) : error;
    } finally {
      this.#waiting.delete(waiting);
      this.#callCount -= 1;
    }
  }

  /** Whether the process responds to a probe within this time, in milliseconds. */
  responds(withinMs: number): Promise<boolean> {
    return this.#process.responds(withinMs);
  }

  /**
   * Has the process probed as if a call waited for it, because the next call may be for it: if it does not respond either, that call is
   * refused at once.
   * @returns ends that
   */
  expect(): () => void {
    const expected: Waiting = { sinceMs: this.#clock.monotonicMs(), giveUp: () => undefined };
    this.#waiting.add(expected);
    this.#watch();
    return () => void this.#waiting.delete(expected);
  }

  /** Closes the connection; calls under way end as `unreachable`. */
  close(): void {
    this.#isClosed = true;
    for (const { giveUp } of this.#waiting) giveUp(this.#refusals.unreachable());
    this.#process.close();
  }

  /** Probes the process while calls wait for it, and while it does not respond and is needed. */
  #watch(): void {
    if (this.#isWatched) return;
    this.#isWatched = true;
    void outsideOfCalls(async () => {
      let probedAtMs = Number.NEGATIVE_INFINITY;
      while (!this.#isClosed && (this.#waiting.size > 0 || this.#isSilentAndNeeded())) {
        const [oldest] = this.#waiting;
        const waitedMs = this.#clock.monotonicMs() - Math.max(oldest?.sinceMs ?? 0, probedAtMs);
        if (waitedMs < patienceMs) {
          await this.#clock.sleep(patienceMs - waitedMs);
          continue;
        }
        probedAtMs = this.#clock.monotonicMs();
        this.#isSilent = !(await this.#process.responds(probeMs));
        if (this.#isSilent) for (const { giveUp } of this.#waiting) giveUp(this.#refusals.unreachable());
      }
      this.#isWatched = false;
      this.#isSilent = false;
    });
  }

  #isSilentAndNeeded(): boolean {
    return this.#isSilent && this.#clock.monotonicMs() - this.#neededAtMs < silenceKeptMs;
  }
}
