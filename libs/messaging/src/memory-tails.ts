import type { Clock, Random } from '@interlock/runtime';
import type { Tailed } from './bus.ts';
import type { BusFaults } from './bus-faults.ts';
import { TailQueue } from './tail-queue.ts';

/** The tails of a memory bus, with its faults: a message may be lost, arrive twice, or arrive late behind later ones. */
export class MemoryTails {
  readonly #queues = new Map<string, Set<TailQueue>>();
  readonly #parts: { readonly clock: Clock; readonly random: Random; readonly faults: BusFaults };

  constructor(parts: { readonly clock: Clock; readonly random: Random; readonly faults: BusFaults }) {
    this.#parts = parts;
  }

  open(subject: string, signal: AbortSignal): AsyncIterable<Tailed> {
    const queue = new TailQueue(signal);
    const queues = this.#queues.get(subject) ?? new Set();
    this.#queues.set(subject, queues);
    if (!signal.aborted) queues.add(queue);
    signal.addEventListener('abort', () => queues.delete(queue));
    return queue;
  }

  /** A message was published: every tail of its subject receives it, unless a fault prevents that. */
  publish(subject: string, message: Tailed): void {
    const { clock, random, faults } = this.#parts;
    const happens = (probability: number): boolean => probability > 0 && random.fraction() < probability;
    for (const queue of this.#queues.get(subject) ?? []) {
      if (happens(faults.loseAfterAck)) continue;
      for (let left = happens(faults.duplicate) ? 2 : 1; left > 0; left -= 1) {
        // One that is late arrives behind later ones.
        if (!happens(faults.delay)) queue.push(message);
        else clock.alarm(random.fraction() * faults.delayMs, () => queue.push(message));
      }
    }
  }

  /** Ends every tail. */
  close(): void {
    for (const queues of this.#queues.values()) for (const queue of queues) queue.end();
  }
}
