import type { Category, Cause } from '@interlock/event-store';
import { type Authorizer, type Principal, requirePermission } from '@interlock/rpc';
import { ageMs, type Clock, type ClockReading, type Logger, type Random, readingOf } from '@interlock/runtime';
import { endAccess } from '../../disk/attachment-decider.ts';
import type { DiskEvent } from '../../disk/events.ts';
import type { Disk } from '../../disk/state.ts';
import type { Turns } from '../../disk/turns.ts';
import type { Session } from './session.ts';
import type { Sessions } from './sessions.ts';

/** The principals that began direct access: each access lasts only as long as its principal may begin one. */
export interface Holders {
  /**
   * Checks the principal of a direct access; the answer of identity is at most `AUTHZ_TTL_MS` old. A refusal ends the access. While
   * identity does not respond, the last grant counts for `graceMs`. The open of a machine has no principal.
   * @throws Rejection PERMISSION_DENIED ACCESS_DENIED; UNAUTHENTICATED PRINCIPAL_DELETED; RpcFailure while identity does not
   *   respond and no grant is young enough, which ends nothing
   */
  check(session: Session): Promise<void> | undefined;
  /** Does the same once per `periodMs` until the session ends, so that an access nobody uses ends too. Never rejects. */
  watch(session: Session): Promise<void>;
}

/** What its principal needs on the disk, to begin an access and as long as it lasts. */
const action = 'compute/disks/beginAccess';

/** How long a use waits for identity while the last grant still counts, in milliseconds: longer than a call takes. */
const PATIENCE_MS = 250;

/** What is known of the principal of one session. */
interface Holding {
  /** The clock before the call that was granted last. */
  grantedAt: ClockReading | undefined;
  /** The call to identity under way: resolves to the refusal, or to nothing; rejects while identity does not respond. */
  asking: { readonly sinceMs: number; readonly refusal: Promise<unknown> } | undefined;
}

/** Opens the checks. */
export const openHolders = (parts: {
  readonly authorize: Authorizer;
  readonly disks: Pick<Category<Disk, DiskEvent>, 'transact'>;
  readonly sessions: Pick<Sessions, 'end'>;
  readonly turns: Turns;
  /** `LEASE_TTL_MS`: between two checks of an access that is not used. */
  readonly periodMs: number;
  /** `UNREACHABLE_GRACE_MS`: how long the last grant counts while identity does not respond. */
  readonly graceMs: number;
  readonly clock: Clock;
  readonly random: Pick<Random, 'uuid'>;
  readonly log: Logger;
}): Holders => {
  const { authorize, disks, sessions, turns, periodMs, graceMs, clock, random, log } = parts;

  /** The data key leaves memory first: then the store may take its time. */
  const end = async (session: Session): Promise<void> => {
    const { name, tokenHash, isEnded } = session;
    if (isEnded) return;
    sessions.end(name);
    const id = random.uuid();
    const cause: Cause = { correlationId: id, causationId: id, caller: 'system:disk' };
    await turns(name, () => disks.transact(name, endAccess(clock.now(), tokenHash), cause));
  };
  /** @returns the refusal, after the access has ended; undefined for a grant @throws RpcFailure */
  const refusalOf = async (session: Session, holder: Principal): Promise<unknown> => {
    const decision = await authorize(holder, action, session.name);
    if (decision.principalActive && decision.allowed) return undefined;
    // A store that does not answer changes nothing here: the next use makes the session again, and is refused again.
    await end(session).catch((error: unknown) =>
      log.warn('a direct access could not be ended in the store', { disk: session.name, error }),
    );
    return requirePermission(async () => decision, holder, action, session.name).catch((error: unknown) => error);
  };

  const holdings = new WeakMap<Session, Holding>();
  const holdingOf = (session: Session): Holding => {
    const holding = holdings.get(session) ?? { grantedAt: undefined, asking: undefined };
    holdings.set(session, holding);
    return holding;
  };
  /** One call to identity at a time for a session. */
  const ask = (session: Session, holder: Principal, holding: Holding): NonNullable<Holding['asking']> => {
    if (holding.asking) return holding.asking;
    const askedAt = readingOf(clock);
    const refusal = refusalOf(session, holder)
      .then((found) => {
        holding.grantedAt = found === undefined ? askedAt : undefined;
        return found;
      })
      .finally(() => {
        holding.asking = undefined;
      });
    // Whoever does not wait for it learns of a failure from the next call.
    refusal.catch(() => undefined);
    const asking = { sinceMs: clock.monotonicMs(), refusal };
    holding.asking = asking;
    return asking;
  };
  /** Resolves with the refusal, or once there is nothing to wait for any more. */
  const patiently = async (refusal: Promise<unknown>, leftMs: number): Promise<unknown> => {
    const { promise: over, resolve } = Promise.withResolvers<undefined>();
    const alarm = clock.alarm(leftMs, () => resolve(undefined));
    try {
      return await Promise.race([refusal.catch(() => undefined), over]);
    } finally {
      alarm.cancel();
    }
  };
  const throwRefusal = async (refusal: Promise<unknown>): Promise<void> => {
    const found = await refusal;
    if (found !== undefined) throw found;
  };
  const check: Holders['check'] = (session) => {
    if (session.holder === undefined) return undefined;
    const holding = holdingOf(session);
    const { grantedAt } = holding;
    const { sinceMs, refusal } = ask(session, session.holder, holding);
    if (grantedAt === undefined || ageMs(grantedAt, readingOf(clock)) >= graceMs) return throwRefusal(refusal);
    const leftMs = sinceMs + PATIENCE_MS - clock.monotonicMs();
    return leftMs > 0 ? throwRefusal(patiently(refusal, leftMs)) : undefined;
  };

  return {
    check,
    async watch(session) {
      const { signal } = session.ending;
      while (session.holder !== undefined && !signal.aborted) {
        await clock.sleep(periodMs, signal);
        if (signal.aborted) return;
        await throwRefusal(ask(session, session.holder, holdingOf(session)).refusal).catch((error: unknown) =>
          log.warn('a direct access was refused, or its principal could not be checked', { disk: session.name, error }),
        );
      }
    },
  };
};
