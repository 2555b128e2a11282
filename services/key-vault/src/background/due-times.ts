import type { Cause, EventStore } from '@interlock/event-store';
import { type Clock, currentTraceparent, type Instant, inSpan, type Logger } from '@interlock/runtime';
import type { Tracer } from '@opentelemetry/api';
import { sleepOrEvent } from './sleep-or-event.ts';

/** Streams with work at a certain time. */
export interface DueSource {
  /** `<category>-`, the start of the stream names. */
  readonly streamPrefix: string;
  /** Every stream with a due time, as stored now. */
  all(): Promise<readonly { readonly id: string; readonly dueAt: Instant }[]>;
  /** Due time of one stream, as stored now; `undefined`: no work. */
  dueAt(id: string): Promise<Instant | undefined>;
  /** Does the due work, or the rest of a failed attempt. May be repeated; another replica may have been first. */
  act(id: string, cause: Cause): Promise<void>;
}

interface Due {
  readonly source: DueSource;
  readonly id: string;
  readonly dueAt: Instant;
  /** An attempt failed, so it is repeated whatever the state says by then. */
  readonly isOwed: boolean;
}

/** Longest sleep: how late a wall clock set forward is noticed. Safe, because uses check the dates themselves. */
const sleepMsMax = 10_000;
/** Delay before failed or held work is tried again. */
const retryMs = 1_000;
const feedPage = 1_000;

interface DueParts {
  readonly store: EventStore;
  readonly clock: Clock;
  readonly log: Logger;
  readonly tracer: Tracer;
  readonly sources: readonly DueSource[];
  readonly newCause: () => Cause;
  /** Whether the state of the store may be acted on; called before each action. */
  readonly mayAct: () => Promise<boolean>;
}

/**
 * Does due work on time: publishes dates, purges after the retention (KV-63). The due times are in the stored states, so a
 * restart loses nothing, and new ones arrive with the event feed. Every replica does this; a repeated decision changes nothing.
 */
export const watchDueTimes = async (parts: DueParts, signal: AbortSignal): Promise<void> => {
  const watch = new DueWatch(parts);
  await watch.load();
  while (!signal.aborted) {
    if (await watch.follow()) continue;
    const isHeld = await watch.actOnDue(signal);
    await watch.sleep(isHeld, signal);
  }
};

class DueWatch {
  readonly #parts: DueParts;
  readonly #due = new Map<string, Due>();
  #position = 0;

  constructor(parts: DueParts) {
    this.#parts = parts;
  }

  /** Reads all due times. The head is read first, so that later changes are read again from the feed. */
  async load(): Promise<void> {
    const { store, sources } = this.#parts;
    this.#position = await store.head();
    for (const source of sources) for (const { id, dueAt } of await source.all()) this.#put(source, id, dueAt);
  }

  /** Applies a page of the feed. @returns whether there may be more */
  async follow(): Promise<boolean> {
    const { store, sources } = this.#parts;
    const events = await store.feed(this.#position, feedPage);
    for (const stream of new Set(events.map((event) => event.stream))) {
      const source = sources.find(({ streamPrefix }) => stream.startsWith(streamPrefix));
      // Work that failed after its event is no longer due by the state, but still owed.
      if (!source || this.#due.get(stream)?.isOwed === true) continue;
      await this.#refresh(source, stream.slice(source.streamPrefix.length));
    }
    this.#position = events.at(-1)?.position ?? this.#position;
    return events.length === feedPage;
  }

  /** @returns whether due work must wait */
  async actOnDue(signal: AbortSignal): Promise<boolean> {
    const { clock, log, mayAct } = this.#parts;
    for (const { source, id, dueAt } of [...this.#due.values()]) {
      if (signal.aborted) return false;
      if (dueAt > clock.now()) continue;
      if (!(await mayAct())) return true;
      try {
        await this.#act(source, id);
        await this.#refresh(source, id);
      } catch (error) {
        log.warn('due work failed; it is tried again', { stream: source.streamPrefix + id, error });
        this.#put(source, id, clock.now() + retryMs, true);
      }
    }
    return false;
  }

  /** Sleeps until the next due time or event. */
  async sleep(isHeld: boolean, signal: AbortSignal): Promise<void> {
    // A loop, because there may be more due times than a call takes arguments.
    let nextAt = Number.POSITIVE_INFINITY;
    for (const { dueAt } of this.#due.values()) nextAt = Math.min(nextAt, dueAt);
    const waitMs = isHeld ? retryMs : Math.min(nextAt - this.#parts.clock.now(), sleepMsMax);
    if (waitMs > 0) await sleepOrEvent(this.#parts, this.#position, waitMs, signal);
  }

  #put(source: DueSource, id: string, dueAt: Instant | undefined, isOwed = false): void {
    const stream = source.streamPrefix + id;
    if (dueAt === undefined) this.#due.delete(stream);
    else this.#due.set(stream, { source, id, dueAt, isOwed });
  }

  async #refresh(source: DueSource, id: string): Promise<void> {
    this.#put(source, id, await source.dueAt(id));
  }

  /** In a trace of its own, which the effects name as their cause (G10). */
  #act({ act, streamPrefix }: DueSource, id: string): Promise<void> {
    const { tracer, newCause } = this.#parts;
    return inSpan(tracer, `due ${streamPrefix.slice(0, -1)}`, {}, () => {
      const traceparent = currentTraceparent();
      return act(id, { ...newCause(), ...(traceparent === undefined ? {} : { traceparent }) });
    });
  }
}
