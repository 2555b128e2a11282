import type { Workload } from '@interlock/rpc';

/** The parts that can be disturbed: a service, the bus, the stores, callers outside, the network as a whole (`calls`), or storage. */
export type Disturbed = Workload | 'bus' | 'store' | 'outside' | 'calls' | 'volumes';

/** When each part was last disturbed, by a fault or on purpose. A disturbance excuses a failure. */
export class Disturbances {
  readonly #nowMs: () => number;
  readonly #active = new Map<Disturbed, number>();
  readonly #ended = new Map<Disturbed, number>();
  readonly #started = new Map<Workload, number>();

  constructor(nowMs: () => number) {
    this.#nowMs = nowMs;
  }

  /** Notes the start of a disturbance. @returns a function that ends it */
  begin(...parts: readonly Disturbed[]): () => void {
    for (const part of parts) this.#active.set(part, (this.#active.get(part) ?? 0) + 1);
    let isOver = false;
    return () => {
      if (isOver) return;
      isOver = true;
      for (const part of parts) {
        this.#active.set(part, (this.#active.get(part) ?? 1) - 1);
        this.#ended.set(part, this.#nowMs());
      }
    };
  }

  /** When the last disturbance of any of these parts ended; now during one; undefined if there was none. */
  lastMs(parts: Iterable<Disturbed>): number | undefined {
    let last: number | undefined;
    for (const part of parts) {
      const at = (this.#active.get(part) ?? 0) > 0 ? this.#nowMs() : this.#ended.get(part);
      if (at !== undefined && (last === undefined || at > last)) last = at;
    }
    return last;
  }

  /** The same for any part. */
  lastAnyMs(): number | undefined {
    return this.lastMs(new Set([...this.#active.keys(), ...this.#ended.keys()]));
  }

  /** When the present process of a service started; 0 for the first. */
  startedMs(service: Workload): number {
    return this.#started.get(service) ?? 0;
  }

  noteStart(service: Workload): void {
    this.#started.set(service, this.#nowMs());
  }
}
