import { type Clock, keyedMutex, serialQueue } from '@interlock/runtime';
import { RestError } from '../errors/rest-error.ts';

/**
 * Most steps that one request may compute for. A step is about one character or member that is looked at; this many take less than
 * a second.
 */
export const stepsMax = 10_000_000;
/** Steps after which other requests get a turn: a few milliseconds. */
export const sliceSteps = 100_000;
/** Largest size of all values together that one request may make, in bytes as `sizeOf` counts them. */
export const madeBytesMax = 16_000_000;
/** Largest size of one value, in the same bytes. */
export const valueBytesMax = 4_000_000;
/** Deepest nesting of a value, and of computations within each other: each level is a call on the stack. */
export const nestedMax = 256;
/** Most long computations of one caller, the running one included. */
const longOnesMax = 4;

/** The limits of a computation that differ from request to request. */
export interface WorkLimits {
  /** Refuses a request that costs too much. */
  readonly refuse: (what: string) => Error;
  /** Most steps; infinite where the request itself limits them. */
  readonly stepsMax: number;
}

/** What one request has computed: one budget of steps, of bytes and of nesting for all of it. */
export class Work {
  readonly #refuse: WorkLimits['refuse'];
  readonly #rest: () => Promise<void>;
  readonly #stepsMax: number;
  readonly #sizes = new WeakMap<object, Size>();
  #steps = 0;
  #sliceEnd = sliceSteps;
  #bytes = 0;
  #depth = 0;

  constructor({ refuse, stepsMax }: WorkLimits, rest: () => Promise<void>) {
    this.#refuse = refuse;
    this.#stepsMax = stepsMax;
    this.#rest = rest;
  }

  /** Steps so far. */
  get steps(): number {
    return this.#steps;
  }

  /** Counts steps before they are computed. @throws what `refuse` makes */
  spend(steps: number): void {
    this.#steps += steps;
    if (this.#steps > this.#stepsMax) throw this.#refuse(`it needs more than ${this.#stepsMax} steps to compute`);
  }

  /** Counts a value that is made. @throws what `refuse` makes */
  make(bytes: number): void {
    if (bytes > valueBytesMax) throw this.#refuse(`a value is larger than ${valueBytesMax} bytes`);
    this.#bytes += bytes;
    if (this.#bytes > madeBytesMax) throw this.#refuse(`it makes more than ${madeBytesMax} bytes of values`);
  }

  /** Computes a part of another part, and gives other requests a turn before, if this one has used its slice. */
  async within<Result>(compute: () => Promise<Result> | Result): Promise<Result> {
    this.#depth += 1;
    if (this.#depth > nestedMax) throw this.#refuse(`more than ${nestedMax} levels are nested`);
    this.spend(stepsOfPart);
    await this.yieldIfDue();
    const result = await compute();
    this.#depth -= 1;
    return result;
  }

  /** Gives other requests a turn if this one has used its slice. */
  async yieldIfDue(): Promise<void> {
    if (this.#steps < this.#sliceEnd) return;
    await this.#rest();
    this.#sliceEnd = this.#steps + sliceSteps;
  }

  /**
   * The size of a value, in bytes: 16 and its characters for a text, 8 for a number, 16 and the members for the others. A value within it
   * that was measured before is not looked at again.
   * @throws what `refuse` makes, for one that is larger than `valueBytesMax` or nested too deeply
   */
  sizeOf(value: unknown): number {
    const { bytes, depth, looked } = measured(value, this.#sizes, valueBytesMax);
    this.spend(looked);
    if (bytes > valueBytesMax) throw this.#refuse(`a value is larger than ${valueBytesMax} bytes`);
    if (depth > nestedMax) throw this.#refuse(`a value is nested deeper than ${nestedMax} levels`);
    if (typeof value === 'object' && value !== null) this.#sizes.set(value, { bytes, depth });
    return bytes;
  }
}

/** Steps that each part costs in addition to what it does. */
const stepsOfPart = 100;

interface Size {
  readonly bytes: number;
  readonly depth: number;
}

/** Stops, with too large a size, where the value is too large or too deep. */
const measured = (
  value: unknown,
  known: WeakMap<object, Size>,
  bytesLeft: number,
  level = 0,
): Size & { readonly looked: number } => {
  if (typeof value === 'string') return { bytes: 16 + value.length, depth: 0, looked: 1 };
  if (typeof value !== 'object' || value === null) return { bytes: 8, depth: 0, looked: 1 };
  const before = known.get(value);
  if (before !== undefined) return { ...before, looked: 1 };
  if (level > nestedMax) return { bytes: 0, depth: level, looked: 1 };
  let [bytes, depth, looked] = [16, 0, 1];
  const names = Array.isArray(value) ? [] : Object.keys(value);
  const members: readonly unknown[] = Array.isArray(value) ? value : Object.values(value);
  for (const [at, one] of members.entries()) {
    bytes += 8 + (names[at]?.length ?? 0);
    const member = measured(one, known, bytesLeft - bytes, level + 1);
    bytes += member.bytes;
    depth = Math.max(depth, member.depth + 1);
    looked += member.looked;
    if (bytes > bytesLeft) break;
  }
  return { bytes, depth, looked };
};

/**
 * Starts a computation of a caller. A short one never waits for a long one.
 * @throws RestError 429 for a caller with too many long ones
 */
export type Computing = <Result>(
  caller: string,
  limits: WorkLimits,
  compute: (work: Work) => Promise<Result>,
) => Promise<Result>;

/**
 * Opens the computations of a process. One that has used its first slice is long: it waits until no other long one runs, and then
 * computes a slice in each turn of the event loop. So all long ones together hold the memory of one and use one slice of a turn, and
 * a caller with many waits for itself.
 */
export const openComputing = (clock: Pick<Clock, 'sleep'>): Computing => {
  const ofCaller = keyedMutex();
  const longOnes = serialQueue();
  const counts = new Map<string, number>();
  const count = (caller: string, more: number): void => {
    const now = (counts.get(caller) ?? 0) + more;
    if (now === 0) counts.delete(caller);
    else counts.set(caller, now);
  };
  return async (caller, limits, compute) => {
    const { promise: ended, resolve: end } = Promise.withResolvers<void>();
    let isLong = false;
    const becomeLong = async (): Promise<void> => {
      if ((counts.get(caller) ?? 0) >= longOnesMax) throw tooMany();
      isLong = true;
      count(caller, 1);
      const { promise: counted, resolve: begin } = Promise.withResolvers<void>();
      void ofCaller(caller, () =>
        longOnes(() => {
          begin();
          return ended;
        }),
      );
      await counted;
    };
    const rest = async (): Promise<void> => {
      if (!isLong) await becomeLong();
      await clock.sleep(0);
    };
    try {
      return await compute(new Work(limits, rest));
    } finally {
      end();
      if (isLong) count(caller, -1);
    }
  };
};

const tooMany = (): RestError =>
  new RestError(
    429,
    'TooManyRequests',
    `The caller has ${longOnesMax} requests that need long computations already: retry when one of them has ended, or send a smaller request.`,
    { headers: { 'retry-after': '1' } },
  );
