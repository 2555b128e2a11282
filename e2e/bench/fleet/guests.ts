import { randomBytes } from 'node:crypto';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { setTimeout as sleep } from 'node:timers/promises';
import type { ServiceError } from '@grpc/grpc-js';
import type { Scope } from '@interlock/runtime';
import { until } from '../../cloud/until.ts';
import { openDisk } from '../bench.ts';
import { type DataClient, openDataClient } from '../disk-io/data-client.ts';
import { inFlight, timed } from '../measure.ts';
import type { Fleet } from './fleet.ts';

const ioBytes = 4_096;
/** Pause of a guest after a refusal, in ms: short enough to find a disk that serves again, and long enough to leave the CPU to the measured work. */
const refusedPauseMs = 1_000;
const limitMs = 60_000;

/** The times that guests measured. */
export interface GuestTimes {
  /** Duration of each read and write, in ms. */
  readonly tookMs: readonly number[];
  /** `performance.now()` at the end of the last successful operation. */
  readonly lastSuccess: number;
  /** p99 of this process's event loop delay, in ms: part of `tookMs`. */
  readonly loopDelayP99Ms: number;
}

/** Separate disks under a fleet's lost sets, read and written as guests do. The machines of the fleet have no guests. */
export class Guests {
  readonly #disks: readonly DataClient[];
  readonly #pauseMs: number;

  constructor(disks: readonly DataClient[], pauseMs: number) {
    this.#disks = disks;
    this.#pauseMs = pauseMs;
  }

  /**
   * Reads and writes while `work` runs, which starts when every disk was used.
   * @param untilRefused continues until every disk refuses because the key is disabled; otherwise no call may fail (G6)
   * @throws Error if a read or write fails for another reason
   */
  async during(work: () => Promise<unknown>, untilRefused = false): Promise<GuestTimes> {
    const loop = monitorEventLoopDelay({ resolution: 1 });
    loop.enable();
    const over = new AbortController();
    const guests = this.#disks.map(() => ({ isRefused: false, lastSuccess: 0 }));
    const tookMs: number[] = [];
    const use = async (disk: DataClient, n: number, guest: (typeof guests)[number]): Promise<void> => {
      // Spread over the pause: otherwise all guests would pause at the same time.
      await sleep((n * this.#pauseMs) / this.#disks.length);
      for (let io = n; !over.signal.aborted; io++) {
        try {
          tookMs.push(await timed(() => (io % 2 === 0 ? disk.read(0, ioBytes) : disk.write(0, randomBytes(ioBytes)))));
          guest.lastSuccess = performance.now();
          guest.isRefused = false;
        } catch (error) {
          if (!untilRefused || !isKeyDisabled(error)) throw error;
          guest.isRefused = true;
        }
        await sleep(guest.isRefused ? refusedPauseMs : this.#pauseMs);
      }
    };
    const uses = Promise.all(
      this.#disks.map((disk, n) => use(disk, n, guests[n] ?? { isRefused: false, lastSuccess: 0 })),
    );
    const run = async (): Promise<void> => {
      await until('every disk is used', async () => guests.every(({ lastSuccess }) => lastSuccess > 0), limitMs);
      await work();
      if (untilRefused)
        await until('every disk refuses', async () => guests.every(({ isRefused }) => isRefused), limitMs);
    };
    await Promise.race([run().finally(() => over.abort()), uses]);
    await uses;
    return {
      tookMs,
      lastSuccess: Math.max(...guests.map(({ lastSuccess }) => lastSuccess)),
      loopDelayP99Ms: loop.percentile(99) / 1e6,
    };
  }
}

/** Creates `count` disks and opens them. @param pauseMs between two calls of a guest */
export const openGuests = async (fleet: Fleet, count: number, pauseMs: number, scope: Scope): Promise<Guests> => {
  const { group, lost } = fleet.place;
  const disks: DataClient[] = [];
  await inFlight(8, count, async (n) => {
    const set = (lost[n % lost.length] ?? lost[0]).name;
    const disk = openDataClient(await openDisk(fleet, { group, set }, `guest-${n}`));
    scope.defer('guest', () => disk.close());
    await disk.write(0, randomBytes(ioBytes));
    disks.push(disk);
  });
  return new Guests(disks, pauseMs);
};

const isKeyDisabled = (error: unknown): boolean =>
  (error as Partial<ServiceError>).metadata
    ?.get('grpc-status-details-bin')
    .some((details) => details.includes('KEY_DISABLED')) ?? false;
