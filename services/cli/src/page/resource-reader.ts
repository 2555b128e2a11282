import type { Clock } from '@interlock/runtime';
import type { Caller } from '../request/calls.ts';
import { type OrNothing, type Resources, readFew, readMany } from './resources.ts';

/** Reading disks and machines takes at most one part of so many of the time: those of a large cloud are read more rarely. */
const REST_FACTOR = 9;

/** What is read. */
interface ResourceReaderOptions {
  readonly caller: Pick<Caller, 'call'>;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  /** Full name of a group or subscription. */
  readonly parent: string;
  readonly orNothing: OrNothing;
}

/** The newest resources of a cloud: disks and machines are read beside everything else, because many take seconds. */
export class ResourceReader {
  readonly #options: ResourceReaderOptions;
  #found: Partial<Resources> = {};
  /** When disks and machines are read again, by the monotonic clock. */
  #manyAtMs = Number.NEGATIVE_INFINITY;
  /** Until `take`. */
  #reading: Promise<void> | undefined;
  #isRead = false;

  constructor(options: ResourceReaderOptions) {
    this.#options = options;
  }

  /** What was read last of each kind. */
  get found(): Partial<Resources> {
    return this.#found;
  }

  /** Whether disks and machines were read since the last `take`. */
  get isRead(): boolean {
    return this.#isRead;
  }

  /** Reads sets, leases and disk hosts. @throws what `orNothing` throws */
  async readFew(): Promise<void> {
    const { caller, parent, orNothing } = this.#options;
    this.#keep(await readFew(caller, parent, orNothing));
  }

  /** Begins to read disks and machines if that is due. @returns whether it begins */
  begin(): boolean {
    if (this.#reading !== undefined || this.#options.clock.monotonicMs() < this.#manyAtMs) return false;
    this.#reading = this.#readMany();
    // `take` throws it.
    this.#reading.catch(() => undefined);
    return true;
  }

  /**
   * Whether disks and machines were read, which ends that reading: the next one may begin.
   * @param isPatient waits for a reading that is under way
   * @throws what `orNothing` throws
   */
  async take(isPatient: boolean): Promise<boolean> {
    if (this.#reading === undefined || !(isPatient || this.#isRead)) return false;
    await this.#reading;
    [this.#reading, this.#isRead] = [undefined, false];
    return true;
  }

  async #readMany(): Promise<void> {
    const { caller, clock, parent, orNothing } = this.#options;
    const startMs = clock.monotonicMs();
    try {
      this.#keep(await readMany(caller, parent, orNothing));
    } finally {
      const endMs = clock.monotonicMs();
      this.#manyAtMs = endMs + (endMs - startMs) * REST_FACTOR;
      this.#isRead = true;
    }
  }

  /** Keeps what was read; a part that could not be read stays as it was. */
  #keep(read: Partial<Resources>): void {
    const known = Object.entries(read).filter(([, value]) => value !== undefined);
    this.#found = { ...this.#found, ...Object.fromEntries(known) };
  }
}
