import type { ReplayParkedFactResponse } from '@interlock/contracts/interlock/messaging/v1/messaging.ts';
import { CursorConflict, type EventStore, Rejection } from '@interlock/event-store';
import type { Clock, Logger } from '@interlock/runtime';
import { CONFLICTS_MAX, cursorOf } from './fact-applier.ts';
import { causeOf, type Handlers, messageOf, NO_EFFECT, reasonOf, verdictOn } from './handlers.ts';
import { decodeFact, type ParkedRow, parkedFacts, parseParkedName, toParkedFact } from './parked.ts';

/** What a replay needs to know of a consumer. */
export interface ReplaySource {
  readonly source: string;
  readonly handlers: Handlers;
  readonly partitionCount: number;
}

export interface ReplayOptions {
  readonly service: string;
  readonly sources: readonly ReplaySource[];
  readonly store: EventStore;
  readonly clock: Clock;
  readonly log: Logger;
}

/**
 * Applies a parked fact again, then every fact parked behind it in its stream, in order. A fact stops being parked in
 * the commit of its effect. The first that fails stays parked with its new error, and so does what is behind it.
 * @throws Rejection INVALID_NAME, PARKED_FACT_NOT_FOUND, PARKED_BEHIND (an earlier fact of the stream is parked)
 */
export const replayParked = async (
  options: ReplayOptions,
  name: string,
  signal: AbortSignal,
): Promise<ReplayParkedFactResponse> => {
  const { store } = options;
  const { source, position } = parseParkedName(name);
  const parked = parkedFacts(store);
  const named = await parked.get(source, position);
  const from = options.sources.find((each) => each.source === source);
  if (!named || !from) {
    if (from && (await wasApplied(store, from, position))) return { replayedCount: 0, stillParked: undefined };
    throw new Rejection('NOT_FOUND', 'PARKED_FACT_NOT_FOUND', `name: no fact is parked as ${name}`, { name });
  }
  let row = await parked.firstOf(source, named.stream);
  if (row && row.position < position) {
    const first = `parkedFacts/${source}-${row.position}`;
    const message = `name: ${name} waits behind ${first} in stream ${named.stream}; replay that one`;
    throw new Rejection('FAILED_PRECONDITION', 'PARKED_BEHIND', message, { name, first, stream: named.stream });
  }
  let replayedCount = 0;
  while (row && !signal.aborted) {
    const failed = await replayOne(options, from.handlers, row, signal);
    if (failed) return { replayedCount, stillParked: toParkedFact(failed) };
    replayedCount += 1;
    row = await parked.firstOf(source, named.stream);
  }
  return { replayedCount, stillParked: row && toParkedFact(row) };
};

/** Whether the cursor has passed the position: a fact there that is not parked has taken effect. */
const wasApplied = async (store: EventStore, { source, partitionCount }: ReplaySource, position: number) => {
  const partitions = Array.from({ length: partitionCount }, (_, partition) =>
    store.cursor(cursorOf(source, partition)),
  );
  return (await Promise.all(partitions)).some((cursor) => cursor >= position);
};

/** @returns the row as it stays parked if the fact failed; undefined if it is applied (here or by another replay) */
const replayOne = async (
  { service, store, clock, log }: ReplayOptions,
  handlers: Handlers,
  row: ParkedRow,
  signal: AbortSignal,
): Promise<ParkedRow | undefined> => {
  const { source, partition, position } = row;
  const parked = parkedFacts(store);
  const fact = decodeFact(row.fact);
  for (let conflicts = 0; ; conflicts += 1) {
    const guard = await parked.guard(source, partition);
    const before = await parked.get(source, position);
    if (!before) return undefined;
    const cause = causeOf(fact, service);
    try {
      const handler = handlers[fact.type];
      const effect = handler ? await handler(fact, { cause, signal }) : NO_EFFECT;
      await store.commit({ ...effect, rows: [...(effect.rows ?? []), parked.remove(before)], cursors: [guard] }, cause);
      log.info('parked fact applied', { source, partition, position, stream: row.stream });
      return undefined;
    } catch (error) {
      if (verdictOn(error) === 'conflict' && conflicts < CONFLICTS_MAX) continue;
      const after = { ...before, error: messageOf(error), reason: reasonOf(error), attempts: before.attempts + 1 };
      log.error('parked fact failed again', { error, source, partition, position, stream: row.stream });
      try {
        // With the guard from before: another replay may have applied the fact meanwhile, or this one without knowing.
        await store.commit({ rows: [parked.put({ ...after, time: clock.now() }, before)], cursors: [guard] }, cause);
      } catch (conflict) {
        if (!(conflict instanceof CursorConflict)) throw conflict;
        continue;
      }
      return after;
    }
  }
};
