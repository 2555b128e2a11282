import type { Cause, EventStore } from '@interlock/event-store';
import { type Clock, currentTraceparent, type Instant, inSpan, type Logger } from '@interlock/runtime';
import type { Tracer } from '@opentelemetry/api';
import { sleepOrEvent } from './sleep-or-event.ts';

/** Streams that need something done at a time. */
export interface DueSource {
  /** `<category>-`, as the streams begin. */
  readonly streamPrefix: string;
  /** Every stream with a due time, as stored now. */
  all(): Promise<readonly { readonly id: string; readonly dueAt: Instant }[]>;
  /** Due time of one stream as stored now; `undefined`: nothing to do. */
  dueAt(id: string): Promise<Instant | undefined>;
  /** Does what is due, or what an attempt that failed left of it. May be repeated, and may find that another replica was first. */
  act(id: string, cause: Cause): Promise<void>;
}

/** Something to do, and when. */
interface Due {
  readonly source: DueSource;
  readonly id: string;
  readonly dueAt: Instant;
  /** It was begun and failed: it is done again whatever the state says by then. */
  readonly isOwed: boolean;
}

/** Longest sleep: a wall clock that was set forward is noticed this late. Nobody's safety hangs on it (uses look at the dates). */
const sleepMsMax = 10_000;
/** How long work that failed, or that is held back, waits before it is tried again. */
const retryMs = 1_000;
const feedPage = 1_000;

/**
 * Does what is due when its time comes: tells expiries, purges what was deleted long enough (KV-63). Survives restarts,
 * because the due times are in the stored states; follows the event feed, so that a new one is known at once. Every
 * replica does this; the decisions decide nothing the second time.
 */
export const watchDueTimes = async (
  parts: {
    readonly store: EventStore;
    readonly clock: Clock;
    readonly log: Logger;
    readonly tracer: Tracer;
    readonly sources: readonly DueSource[];
    readonly newCause: () => Cause;
    /** Whether what the store says may be acted on now: asked before each thing is done. */
    readonly mayAct: () => Promise<boolean>;
  },
  signal: AbortSignal,
): Promise<void> => {
  const { store, clock, log, tracer, sources, newCause, mayAct } = parts;
  /** In a trace of its own: what follows from an end that came names it as its cause (G10). */
  const actOn = ({ act, streamPrefix }: DueSource, id: string): Promise<void> =>
    inSpan(tracer, `due ${streamPrefix.slice(0, -1)}`, {}, () => {
      const traceparent = currentTraceparent();
      return act(id, { ...newCause(), ...(traceparent === undefined ? {} : { traceparent }) });
    });
  const due = new Map<string, Due>();
  const put = (source: DueSource, id: string, dueAt: Instant | undefined, isOwed = false): void => {
    const name = source.streamPrefix + id;
    if (dueAt === undefined) due.delete(name);
    else due.set(name, { source, id, dueAt, isOwed });
  };

  // The head comes first: what changes while the states are read is read again from the feed.
  let position = await store.head();
  for (const source of sources) for (const { id, dueAt } of await source.all()) put(source, id, dueAt);

  /** @returns whether there may be more. */
  const follow = async (): Promise<boolean> => {
    const events = await store.feed(position, feedPage);
    for (const stream of new Set(events.map((event) => event.stream))) {
      const source = sources.find(({ streamPrefix }) => stream.startsWith(streamPrefix));
      // What was cut short after its event is no longer due by the state, and still to be done.
      if (source && due.get(stream)?.isOwed !== true) await refresh(source, stream.slice(source.streamPrefix.length));
    }
    position = events.at(-1)?.position ?? position;
    return events.length === feedPage;
  };
  const refresh = async (source: DueSource, id: string): Promise<void> => put(source, id, await source.dueAt(id));

  /** @returns whether what is due has to wait */
  const actOnDue = async (): Promise<boolean> => {
    for (const { source, id, dueAt } of [...due.values()]) {
      if (signal.aborted) return false;
      if (dueAt > clock.now()) continue;
      if (!(await mayAct())) return true;
      try {
        await actOn(source, id);
        await refresh(source, id);
      } catch (error) {
        log.warn('what was due could not be done; it is tried again', { stream: source.streamPrefix + id, error });
        put(source, id, clock.now() + retryMs, true);
      }
    }
    return false;
  };

  while (!signal.aborted) {
    if (await follow()) continue;
    const isHeldBack = await actOnDue();
    // Not as arguments of one call: there may be more than a call takes.
    let nextAt = Number.POSITIVE_INFINITY;
    for (const { dueAt } of due.values()) nextAt = Math.min(nextAt, dueAt);
    const waitMs = isHeldBack ? retryMs : Math.min(nextAt - clock.now(), sleepMsMax);
    if (waitMs > 0) await sleepOrEvent(parts, position, waitMs, signal);
  }
};
