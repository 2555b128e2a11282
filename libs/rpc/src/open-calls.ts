import type { Alarm, Clock } from '@interlock/runtime';

/** A stopping server is idle once no call was open for this time: calls that were sent before its GOAWAY still arrive. */
const IDLE_MS = 200;

/** The calls of a server whose streams are open. grpc-js knows only connections, and one of those stays open while its client is silent. */
export class OpenCalls<Call> {
  readonly #clock: Pick<Clock, 'monotonicMs' | 'alarm'>;
  readonly #periodMs: number;
  readonly #look: (call: Call, nowMs: number) => void;
  readonly #calls = new Set<Call>();
  readonly #idle = Promise.withResolvers<void>();
  #isIdleAwaited = false;
  #idleAlarm: Alarm | undefined;
  #nextLook: Alarm | undefined;

  /** @param look called with each open call every `periodMs`, from the first call on until `stop` */
  constructor(
    clock: Pick<Clock, 'monotonicMs' | 'alarm'>,
    periodMs: number,
    look: (call: Call, nowMs: number) => void,
  ) {
    this.#clock = clock;
    this.#periodMs = periodMs;
    this.#look = look;
  }

  add(call: Call): void {
    this.#calls.add(call);
    this.#nextLook ??= this.#lookLater();
    if (this.#isIdleAwaited) this.#watchIdle();
  }

  /** @returns whether it was open */
  delete(call: Call): boolean {
    const was = this.#calls.delete(call);
    if (this.#isIdleAwaited) this.#watchIdle();
    return was;
  }

  /** Resolves once no call was open for `IDLE_MS`. Called once. */
  idle(): Promise<void> {
    this.#isIdleAwaited = true;
    this.#watchIdle();
    return this.#idle.promise;
  }

  /** Ends its timers. */
  stop(): void {
    this.#nextLook?.cancel();
    this.#idleAlarm?.cancel();
  }

  #watchIdle(): void {
    this.#idleAlarm?.cancel();
    this.#idleAlarm = this.#calls.size === 0 ? this.#clock.alarm(IDLE_MS, this.#idle.resolve) : undefined;
  }

  #lookLater(): Alarm {
    return this.#clock.alarm(this.#periodMs, () => {
      const nowMs = this.#clock.monotonicMs();
      for (const call of this.#calls) this.#look(call, nowMs);
      this.#nextLook = this.#lookLater();
    });
  }
}
