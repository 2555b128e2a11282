import { type Cause, type EventStore, Rejection, table } from '@interlock/event-store';
import { type Clock, failureLog, type Instant, type Logger, type Random } from '@interlock/runtime';
import { sleepOrEvent } from '../background/sleep-or-event.ts';
import type { HistoryMark, HistoryMarks } from './history-mark.ts';

/** Why nobody may use a key now. */
export interface Hold {
  /** What it is confirmed by. */
  readonly id: string;
  readonly reason: 'ASKED_FOR' | 'STORE_WENT_BACK';
  readonly since: Instant;
  /** Where the store is. */
  readonly position: number;
  /** Where it had been; 0 where nobody knows. */
  readonly knownPosition: number;
}

/** What can put key-vault on hold. */
export interface HoldTerms {
  readonly marks: HistoryMarks;
  /** Name of a hold the operator asks for. */
  readonly asked?: string | undefined;
}

/**
 * Holds the use of keys back until an operator confirms their states. A restore of the store to an earlier moment gives keys
 * back that were taken away after it: nobody may use one before somebody has looked.
 *
 *   in use ──store ends before its mark, or HOLD names an unconfirmed one──▶ on hold ──confirmed──▶ in use
 *
 * What is confirmed is a row in the store, so it holds for every replica and after every start; the mark begins a new
 * history with it.
 */
export interface Holding {
  /** Head of the store, and a look at whether it went back. */
  head(): Promise<number>;
  /** @throws Rejection UNAVAILABLE KEY_VAULT_ON_HOLD */
  check(): void;
  current(): Hold | undefined;
  /** Ends the hold of that id; one that was ended before stays so. @throws Rejection NOT_FOUND HOLD_NOT_FOUND */
  confirm(id: string, cause: Cause): Promise<void>;
  /** Follows the store and the other replicas until the signal; the mark is where the store is when it resolves. */
  watch(signal: AbortSignal): Promise<void>;
}

/** For where nothing outlasts the store: never on hold. */
export const neverOnHold = (store: Pick<EventStore, 'head'>): Holding => ({
  head: () => store.head(),
  check: () => undefined,
  current: () => undefined,
  confirm: async (id) => Promise.reject(holdNotFound(id)),
  watch: async () => undefined,
});

interface ConfirmedRow {
  readonly by: string;
  readonly at: Instant;
  readonly position: number;
}

/** Time between two looks at the mark, and the longest a replica does not know what another confirmed, in milliseconds. */
const lookMs = 1_000;

/** How long the mark waits for further events before it follows, in milliseconds: one write for many changes. */
const gatherMs = 100;

/** Opens it; knows whether there is a hold when it resolves. @throws what the store and the marks throw */
export const openHolding = async (parts: {
  readonly store: EventStore;
  readonly clock: Clock;
  readonly random: Pick<Random, 'uuid'>;
  readonly log: Logger;
  readonly terms: HoldTerms;
}): Promise<Holding> => {
  const { store, clock, random, log, terms } = parts;
  const { marks, asked } = terms;
  const confirmed = table<ConfirmedRow>(store, { name: 'hold_confirmed', version: 1 });
  const isConfirmed = async (id: string): Promise<boolean> => (await confirmed.get(id)) !== undefined;
  /** The newest this process has seen: of the mark, and of the store. */
  let known: HistoryMark | undefined;
  let held: Hold | undefined;

  const hold = (id: string, reason: Hold['reason'], position: number, knownPosition: number): void => {
    const isNew = held?.id !== id;
    held = { id, reason, since: isNew || !held ? clock.now() : held.since, position, knownPosition };
    if (isNew) log.error('on hold: no key is used until its state is confirmed', { ...held });
  };

  const head: Holding['head'] = async () => {
    const before = known;
    const position = await store.head();
    if (before && known?.id === before.id) {
      if (position < before.position) hold(before.id, 'STORE_WENT_BACK', position, before.position);
      else known = { id: before.id, position: Math.max(position, known.position) };
    }
    return position;
  };

  const look = async (): Promise<void> => {
    const before = held?.id;
    // The mark first: whoever wrote it had seen that position, so a store that goes on is there or beyond.
    const mark = await marks.read();
    if (mark && (known?.id !== mark.id || known.position < mark.position)) known = mark;
    const position = await head();
    const newest = known ?? { id: random.uuid().slice(0, 8), position };
    if (position < newest.position) {
      if (!(await isConfirmed(newest.id))) {
        hold(newest.id, 'STORE_WENT_BACK', position, newest.position);
        if (mark?.position !== newest.position) await marks.write(newest);
        return;
      }
      known = { id: random.uuid().slice(0, 8), position };
    } else known = newest;
    if (mark?.id !== known.id || mark.position !== known.position) await marks.write(known);
    if (asked !== undefined && !(await isConfirmed(asked))) return hold(asked, 'ASKED_FOR', position, 0);
    // A use has found meanwhile that the store went back: of that this look says nothing.
    if (held?.id !== before) return;
    if (held) log.warn('keys may be used again', { hold: held.id });
    held = undefined;
  };
  await look();

  return {
    head,
    check() {
      if (held) throw onHold(held);
    },
    current: () => held,
    async confirm(id, cause) {
      if (held?.id !== id) {
        if (await isConfirmed(id)) return;
        throw holdNotFound(id);
      }
      const row = { by: cause.caller, at: clock.now(), position: held.position };
      await store.commit({ rows: [confirmed.put(id, row, undefined)] }, cause);
      log.warn('key states confirmed', { hold: id, ...row });
      await look();
    },
    async watch(signal) {
      const attempts = failureLog({ log, clock, failing: 'hold is looked at again', back: 'hold is looked at' });
      for (let isLast = false; !isLast; ) {
        await sleepOrEvent(parts, known?.position ?? 0, lookMs, signal);
        await clock.sleep(gatherMs, signal);
        // The last look begins after the end: what was taken away last is known to whoever starts after a restore.
        isLast = signal.aborted;
        try {
          await look();
          attempts.succeeded();
        } catch (error) {
          attempts.failed(error, {});
        }
      }
    },
  };
};

const onHold = ({ id, reason, since, position, knownPosition }: Hold): Rejection => {
  const why =
    reason === 'ASKED_FOR'
      ? 'its operator asked for it'
      : `its store was restored to an earlier moment (position ${position}; it had been at ${knownPosition})`;
  return new Rejection(
    'UNAVAILABLE',
    'KEY_VAULT_ON_HOLD',
    `key-vault is on hold, because ${why}: no key is used until an operator has looked at their states and confirmed hold ${id}`,
    {
      hold: id,
      since: new Date(since).toISOString(),
      position: String(position),
      known_position: String(knownPosition),
    },
  );
};

const holdNotFound = (id: string): Rejection =>
  new Rejection('NOT_FOUND', 'HOLD_NOT_FOUND', `hold_id: there is no hold "${id}"`, { hold: id });
