import { uptime } from 'node:os';
import { bootTime } from '@interlock/runtime/clock';

/** Words of the shared memory. */
const [closedAt, busyAt, usedAt] = [0, 1, 2];
/** Places of the two ends of the permission among the 64-bit words, and of the DEK among the bytes. */
const [monotonicEndAt, bootEndAt, dekAt] = [2, 3, 32];
const memoryLength = 64;
/** More than there are reasons to close a gate at one time. */
const forGood = 1 << 30;
/** Boot times of two threads differ by at most this many milliseconds (`bootTime`). */
const bootErrorMs = 10;

/**
 * Permission of this thread for another thread to read and write an open disk at once, without a message. It lasts a fraction of
 * a second and is renewed while the disk is used, so that the other thread never uses a DEK after the end of a lease. A loss, a
 * copy of the disk and this thread's own reads and writes close the gate; then the other thread calls this one. Guarantee G1.
 *
 * Shared memory: `closed` counts the reasons to close the gate, `busy` is 1 while the other thread works on the file. Either side
 * writes its own word before it reads the other's, so at least one of them notices the other.
 */
export class ThreadGate {
  readonly memory = new SharedArrayBuffer(memoryLength);
  readonly #words = new Int32Array(this.memory, 0, 4);
  readonly #ends = new BigInt64Array(this.memory, 0, 4);
  readonly #revoked = Promise.withResolvers<void>();

  /** @param dek copied into the shared memory; overwritten by `revoke` */
  constructor(dek: Uint8Array) {
    new Uint8Array(this.memory, dekAt).set(dek);
  }

  /** Permits reads and writes for so many milliseconds from now on. */
  allow(durationMs: number): void {
    const { monotonicMs, bootMs } = reading();
    Atomics.store(this.#ends, monotonicEndAt, BigInt(Math.floor(monotonicMs + durationMs)));
    Atomics.store(this.#ends, bootEndAt, BigInt(Math.floor(bootMs + durationMs - bootErrorMs)));
  }

  /** Whether the disk was used since the last call. */
  wasUsed(): boolean {
    return Atomics.exchange(this.#words, usedAt, 0) === 1;
  }

  /** Closes it until the end of that: the other thread calls this one meanwhile. What it has begun may take until `idle`. @returns ends that */
  hold(): () => void {
    Atomics.add(this.#words, closedAt, 1);
    return () => void Atomics.sub(this.#words, closedAt, 1);
  }

  /** Runs `work` while the other thread does not touch the file. */
  async whileClosed<Result>(work: () => Promise<Result>): Promise<Result> {
    const release = this.hold();
    try {
      if (this.#isBusy()) await this.idle();
      return await work();
    } finally {
      release();
    }
  }

  /** Closes it for good and overwrites the DEK. What the other thread has in progress is not acknowledged. */
  revoke(): void {
    Atomics.add(this.#words, closedAt, forGood);
    new Uint8Array(this.memory, dekAt).fill(0);
    this.#revoked.resolve();
  }

  /** Resolves when the gate is closed for good. */
  get revoked(): Promise<void> {
    return this.#revoked.promise;
  }

  #isBusy(): boolean {
    return Atomics.load(this.#words, busyAt) === 1;
  }

  /** Resolves when the other thread has nothing in progress. Close the gate first. */
  async idle(): Promise<void> {
    while (this.#isBusy()) await Atomics.waitAsync(this.#words, busyAt, 1).value;
  }
}

/** The other side of a `ThreadGate`: whether its thread may work now. */
export class ThreadPass {
  readonly #words: Int32Array;
  readonly #ends: BigInt64Array;
  readonly #dek: Uint8Array;

  constructor(memory: SharedArrayBuffer) {
    this.#words = new Int32Array(memory, 0, 4);
    this.#ends = new BigInt64Array(memory, 0, 4);
    this.#dek = new Uint8Array(memory, dekAt);
  }

  /** Whether the permission holds at this moment. */
  isOpen(): boolean {
    if (Atomics.load(this.#words, closedAt) !== 0) return false;
    const { monotonicMs, bootMs } = reading();
    return (
      monotonicMs < Number(Atomics.load(this.#ends, monotonicEndAt)) &&
      bootMs < Number(Atomics.load(this.#ends, bootEndAt))
    );
  }

  /** Begins work on the file. @returns false: call the other thread instead. After true call `leave`. */
  enter(): boolean {
    Atomics.store(this.#words, busyAt, 1);
    if (this.isOpen()) return true;
    this.leave();
    return false;
  }

  leave(): void {
    Atomics.store(this.#words, busyAt, 0);
    Atomics.store(this.#words, usedAt, 1);
    if (Atomics.load(this.#words, closedAt) !== 0) Atomics.notify(this.#words, busyAt);
  }

  /** A copy of the DEK, which the caller clears. All zeros after `revoke`. */
  dek(): Uint8Array {
    return new Uint8Array(new ArrayBuffer(this.#dek.length)).map((_, at) => this.#dek[at] ?? 0);
  }
}

/** `performance.now` begins with its thread: this is where it does, by the clock of the process, in milliseconds. */
const startMs = Number(process.hrtime.bigint()) / 1e6 - performance.now();
const monotonic = (): number => performance.now() + startMs;
const boot = bootTime({ monotonicMs: monotonic, wallMs: () => Date.now(), uptimeMs: () => uptime() * 1_000 });
/** The same for all threads of a process. */
const reading = () => ({ monotonicMs: monotonic(), bootMs: boot() });
