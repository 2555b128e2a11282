import { resumption } from '@interlock/rpc';
import type { Clock } from '@interlock/runtime';
import { type Step, StepBarrier } from '../step-barrier.ts';

/** Time between two samples of the event loop's lateness, in ms. */
const sampleMs = 10;
/** Maximum lateness with guests, in ms: half of the duration of a read without other load, which meets it twice. */
const lateMsMax = 2;
/** Consecutive samples on time after which one more piece is admitted: the effect of the last admission is visible by then. */
const onTimeMin = 4;
/** How long after a read or a write guests count as present, in ms. */
const guestsStayMs = 1_000;
/**
 * Pieces admitted together while guests are present: at first, and at least. Reads, commits and messages cost about as much for
 * four pieces as for thirty, so fewer would use more of the processor for each.
 */
const widthMin = 32;
/** The rest after a batch, as a share of the batch's duration: guests have the processor for half of the time. */
const restShare = 1;
/** A batch counts as done when this share of its pieces is left: a slow piece holds up no other. */
const heldUpShare = 1 / 4;

/**
 * Runs pieces of low-priority work beside the reads and writes of guests. Without guests all pieces run at once. With guests a
 * batch is admitted, and nothing for as long as the batch took. Short bursts of many pieces cost less than a trickle of few, and
 * meet only half of the guests' operations. The size of a batch follows the lateness of the event loop: it is halved when a sample
 * is late, and grows by one after some samples on time. Lateness is what a guest waits for, whatever its cause.
 */
export class Background {
  readonly #clock: Pick<Clock, 'alarm' | 'monotonicMs'>;
  readonly #waiting: ((barrier: StepBarrier) => Promise<void>)[] = [];
  #running = 0;
  #guestAtMs = Number.NEGATIVE_INFINITY;
  /** Pieces that may run; undefined without guests. */
  #width: number | undefined;
  #isPlanned = false;
  #isSampling = false;
  #onTimeCount = 0;
  /** When the last batch was admitted, and when it was done; undefined while it is not. */
  #admittedAtMs = 0;
  #doneAtMs: number | undefined = 0;
  #isResting = false;

  constructor(clock: Pick<Clock, 'alarm' | 'monotonicMs'>) {
    this.#clock = clock;
  }

  /** Runs a piece when there is room for it, in step with the pieces admitted with it, in the context of its caller. */
  run<Result>(work: (step: Step) => Promise<Result>): Promise<Result> {
    // Another piece's end may admit this one: deadline and trace are those of its own caller.
    const asCaller = resumption();
    return new Promise((resolve, reject) => {
      this.#waiting.push((barrier) => asCaller(() => barrier.member(work)).then(resolve, reject));
      this.#plan();
    });
  }

  /** Notes that a guest reads or writes. */
  noteGuest(): void {
    this.#guestAtMs = this.#clock.monotonicMs();
  }

  #plan(): void {
    if (this.#isPlanned) return;
    this.#isPlanned = true;
    // A microtask later: the pieces of one turn of the event loop are admitted together.
    queueMicrotask(() => this.#admit());
  }

  #admit(): void {
    this.#isPlanned = false;
    const nowMs = this.#clock.monotonicMs();
    if (nowMs - this.#guestAtMs > guestsStayMs) this.#width = undefined;
    else this.#width ??= widthMin;
    const width = this.#width;
    const room = width === undefined ? this.#waiting.length : width - this.#running;
    if (this.#waiting.length === 0 || room <= 0 || (width !== undefined && !this.#isRested(nowMs))) return;
    this.#admittedAtMs = nowMs;
    this.#doneAtMs = undefined;
    const barrier = new StepBarrier(this.#clock);
    for (const start of this.#waiting.splice(0, room)) {
      this.#running += 1;
      void start(barrier).then(() => {
        this.#running -= 1;
        this.#noteDone();
        this.#plan();
      });
    }
    this.#noteDone();
    this.#sample();
  }

  #noteDone(): void {
    if (this.#running <= (this.#width ?? widthMin) * heldUpShare) this.#doneAtMs ??= this.#clock.monotonicMs();
  }

  /** Whether the rest after the last batch is over; if not, plans again when it is. */
  #isRested(nowMs: number): boolean {
    if (this.#doneAtMs === undefined) return false;
    const leftMs = this.#doneAtMs + (this.#doneAtMs - this.#admittedAtMs) * restShare - nowMs;
    if (leftMs <= 0) return true;
    if (!this.#isResting) {
      this.#isResting = true;
      this.#clock.alarm(leftMs, () => {
        this.#isResting = false;
        this.#plan();
      });
    }
    return false;
  }

  #sample(): void {
    // A rest says nothing about lateness under load, and the width is never below the least.
    const isQuiet = this.#waiting.length === 0 && this.#running <= widthMin;
    if (this.#isSampling || this.#running === 0 || isQuiet) return;
    this.#isSampling = true;
    const dueMs = this.#clock.monotonicMs() + sampleMs;
    this.#clock.alarm(sampleMs, () => {
      this.#isSampling = false;
      this.#adapt(this.#clock.monotonicMs() - dueMs > lateMsMax);
      this.#sample();
      this.#plan();
    });
  }

  #adapt(isLate: boolean): void {
    this.#onTimeCount = isLate ? 0 : this.#onTimeCount + 1;
    if (this.#width === undefined) return;
    if (isLate) this.#width = Math.max(widthMin, Math.floor(this.#width / 2));
    // Without waiting pieces, being on time says nothing about the room for more.
    else if (this.#waiting.length > 0 && this.#onTimeCount % onTimeMin === 0) this.#width += 1;
  }
}
