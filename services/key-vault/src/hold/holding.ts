import { type Cause, type EventStore, Rejection, type Table, table } from '@interlock/event-store';
import { type Clock, failureLog, type Instant, type Logger, type Random } from '@interlock/runtime';
import type { Meter, ObservableResult } from '@opentelemetry/api';
import { sleepOrEvent } from '../background/sleep-or-event.ts';
import type { HistoryMark, HistoryMarks } from './history-marks.ts';

/** Why no key may be used now. */
export interface Hold {
  /** The id to confirm it by. */
  readonly id: string;
  readonly reason: 'ASKED_FOR' | 'STORE_WENT_BACK';
  readonly since: Instant;
  /** Position of the store. */
  readonly position: number;
  /** Position it had reached; 0: unknown. */
  readonly knownPosition: number;
}

/** What can put key-vault on hold. */
export interface HoldTerms {
  readonly marks: HistoryMarks;
  /** Name of a hold that the operator requests. */
  readonly asked?: string | undefined;
}

interface ConfirmedRow {
  readonly by: string;
  readonly at: Instant;
  readonly position: number;
}

/** Time between two reads of the mark, and until a replica knows what another one confirmed, in milliseconds. */
const lookMs = 1_000;

/** How long the mark waits for further events before it is written, in milliseconds: one write for many changes. */
const gatherMs = 100;

interface HoldingParts {
  readonly store: EventStore;
  readonly clock: Clock;
  readonly random: Pick<Random, 'uuid'>;
  readonly log: Logger;
  /** Absent for a store that does not outlive the process: never on hold. */
  readonly terms: HoldTerms | undefined;
}

/** Opens it; when it resolves, it is known whether there is a hold. @throws what the store and the marks throw */
export const openHolding = async (parts: HoldingParts): Promise<Holding> => {
  const holding = new Holding(parts);
  await holding.look();
  return holding;
};

/**
 * Refuses the use of keys until an operator confirms their states. A restore of the store to an earlier moment also restores
 * access that was revoked later, so no key may be used before an operator has looked.
 *
 *   in use ──store ends before its mark, or HOLD names an unconfirmed hold──▶ on hold ──confirmed──▶ in use
 *
 * A confirmation is a row in the store, so it applies to every replica and every later start; it starts a new history of the
 * mark.
 */
export class Holding {
  readonly #parts: HoldingParts;
  readonly #confirmed: Table<ConfirmedRow>;
  /** The newest mark and the newest position of the store that this process has seen. */
  #known: HistoryMark | undefined;
  #held: Hold | undefined;

  constructor(parts: HoldingParts) {
    this.#parts = parts;
    this.#confirmed = table<ConfirmedRow>(parts.store, { name: 'hold_confirmed', version: 1 });
  }

  /** Head of the store. Also checks whether the store went back. */
  async head(): Promise<number> {
    const before = this.#known;
    const position = await this.#parts.store.head();
    if (before && this.#known?.id === before.id) {
      if (position < before.position) this.#hold(before.id, 'STORE_WENT_BACK', position, before.position);
      else this.#known = { id: before.id, position: Math.max(position, this.#known.position) };
    }
    return position;
  }

  /** @throws Rejection UNAVAILABLE KEY_VAULT_ON_HOLD */
  check(): void {
    if (this.#held) throw onHold(this.#held);
  }

  current(): Hold | undefined {
    return this.#held;
  }

  /** Ends the hold of this id; may be repeated. @throws Rejection NOT_FOUND HOLD_NOT_FOUND */
  async confirm(id: string, cause: Cause): Promise<void> {
    const { store, clock, log } = this.#parts;
    if (this.#held?.id !== id) {
      if (await this.#isConfirmed(id)) return;
      throw holdNotFound(id);
    }
    const row = { by: cause.caller, at: clock.now(), position: this.#held.position };
    await store.commit({ rows: [this.#confirmed.put(id, row, undefined)] }, cause);
    log.warn('key states confirmed', { hold: id, ...row });
    await this.look();
  }

  /** Follows the store and the other replicas until the signal; when it resolves, the mark is at the head of the store. */
  async watch(signal: AbortSignal): Promise<void> {
    const { clock, log, terms } = this.#parts;
    if (!terms) return;
    const attempts = failureLog({
      log,
      clock,
      failing: 'the mark of the store cannot be checked',
      back: 'the mark of the store is checked again',
    });
    for (let isLast = false; !isLast; ) {
      await sleepOrEvent(this.#parts, this.#known?.position ?? 0, lookMs, signal);
      await clock.sleep(gatherMs, signal);
      // The last check starts after the end of the service, so that the mark includes its last revocations.
      isLast = signal.aborted;
      try {
        await this.look();
        attempts.succeeded();
      } catch (error) {
        attempts.failed(error, {});
      }
    }
  }

  /** Compares mark and store, moves the mark, and starts or ends a hold. */
  async look(): Promise<void> {
    const { log, random, terms } = this.#parts;
    if (!terms) return;
    const { marks, asked } = terms;
    const before = this.#held?.id;
    // The mark first: its writer had seen that position, so an intact store is there or beyond.
    const mark = await marks.read();
    if (mark && (this.#known?.id !== mark.id || this.#known.position < mark.position)) this.#known = mark;
    const position = await this.head();
    const newest = this.#known ?? { id: random.uuid().slice(0, 8), position };
    if (position < newest.position && !(await this.#isConfirmed(newest.id))) {
      this.#hold(newest.id, 'STORE_WENT_BACK', position, newest.position);
      if (mark?.position !== newest.position) await marks.write(newest);
      return;
    }
    const known = position < newest.position ? { id: random.uuid().slice(0, 8), position } : newest;
    this.#known = known;
    if (mark?.id !== known.id || mark.position !== known.position) await marks.write(known);
    if (asked !== undefined && !(await this.#isConfirmed(asked))) return this.#hold(asked, 'ASKED_FOR', position, 0);
    // A use found meanwhile that the store went back, which this check does not know.
    if (this.#held?.id !== before) return;
    if (this.#held) log.warn('keys may be used again', { hold: this.#held.id });
    this.#held = undefined;
  }

  async #isConfirmed(id: string): Promise<boolean> {
    return (await this.#confirmed.get(id)) !== undefined;
  }

  #hold(id: string, reason: Hold['reason'], position: number, knownPosition: number): void {
    const { clock, log } = this.#parts;
    const isNew = this.#held?.id !== id;
    this.#held = {
      id,
      reason,
      since: isNew || !this.#held ? clock.now() : this.#held.since,
      position,
      knownPosition,
    };
    if (isNew) log.error('on hold: no key is used until its state is confirmed', { ...this.#held });
  }
}

/** Registers the gauge `interlock.key_vault.hold`: 1 on hold, else 0. @returns unregisters it */
export const meterHold = (meter: Meter, holding: Pick<Holding, 'current'>): (() => void) => {
  const gauge = meter.createObservableGauge('interlock.key_vault.hold', {
    description: 'Whether no key may be used until its state is confirmed',
  });
  const observe = (result: ObservableResult): void => result.observe(holding.current() === undefined ? 0 : 1);
  gauge.addCallback(observe);
  return () => gauge.removeCallback(observe);
};

const onHold = ({ id, reason, since, position, knownPosition }: Hold): Rejection => {
  const why =
    reason === 'ASKED_FOR'
      ? 'the setting HOLD requests it'
      : `its store ends at position ${position} and had reached ${knownPosition}: it was restored to an earlier moment, or DATABASE_URL names another database than before`;
  return new Rejection(
    'UNAVAILABLE',
    'KEY_VAULT_ON_HOLD',
    `key-vault is on hold, because ${why}. No key is used until an operator checks the key states and confirms hold ${id}`,
    {
      hold: id,
      since: new Date(since).toISOString(),
      position: String(position),
      known_position: String(knownPosition),
    },
  );
};

const holdNotFound = (id: string): Rejection =>
  new Rejection('NOT_FOUND', 'HOLD_NOT_FOUND', `hold_id "${id}" is not a hold; list holds with GetHold`, { hold: id });
