import type { Cause } from '@interlock/event-store';
import { type Authorizer, type CachingAuthorizer, type Principal, requirePermission } from '@interlock/rpc';
import { ageMs, type Clock, type ClockReading, type Logger, type Random, readingOf } from '@interlock/runtime';
import type { DiskRecords } from '../records.ts';
import type { Session } from './session.ts';
import type { Sessions } from './sessions.ts';

/** What a principal needs on the disk to begin direct access, and as long as the access lasts. */
const action = 'compute/disks/beginAccess';

/** How long a use waits for identity while the last grant still counts, in milliseconds: longer than a call takes. */
const PATIENCE_MS = 250;

/** What is known about the principal of one session. */
interface Holding {
  /** The clock before the last granted call. */
  grantedAt: ClockReading | undefined;
  /** The call to identity in progress. It resolves to the refusal, or to undefined; it rejects if identity is unreachable. */
  call: { readonly sinceMs: number; readonly refusal: Promise<unknown> } | undefined;
}

/** What the checks of principals need. */
export interface HoldersParts {
  readonly authorize: Authorizer;
  readonly cachedGrant: CachingAuthorizer['cachedGrant'];
  readonly records: Pick<DiskRecords, 'endAccess'>;
  readonly sessions: Pick<Sessions, 'end'>;
  /** `LEASE_TTL_MS`: time between two checks of an access that is not used. */
  readonly periodMs: number;
  /** `UNREACHABLE_GRACE_MS`: how long the last grant counts while identity is unreachable. */
  readonly graceMs: number;
  readonly clock: Clock;
  readonly random: Pick<Random, 'uuid'>;
  readonly log: Logger;
}

/** Checks the principals that began direct access: an access lasts only as long as its principal may begin one. */
export class Holders {
  readonly #parts: HoldersParts;
  readonly #holdings = new WeakMap<Session, Holding>();

  constructor(parts: HoldersParts) {
    this.#parts = parts;
  }

  /**
   * Checks the principal of a direct access; the reply of identity is at most `AUTHZ_TTL_MS` old. A refusal ends the access. While
   * identity is unreachable, the last grant counts for `graceMs`. The open of a machine has no principal.
   * @throws Rejection PERMISSION_DENIED ACCESS_DENIED; UNAUTHENTICATED PRINCIPAL_DELETED; RpcFailure if identity is unreachable
   *   and no grant is recent enough, which ends nothing
   */
  check(session: Session): Promise<void> | undefined {
    const { principal } = session;
    if (principal === undefined) return undefined;
    const { cachedGrant, clock, graceMs } = this.#parts;
    const { grantedAt } = this.#holdingOf(session);
    // Almost every time: a disk is used many times before a decision expires.
    if (grantedAt && cachedGrant(principal, action, session.name)?.principalActive) return undefined;
    const { sinceMs, refusal } = this.#call(session, principal);
    if (grantedAt === undefined || ageMs(grantedAt, readingOf(clock)) >= graceMs) return throwRefusal(refusal);
    const leftMs = sinceMs + PATIENCE_MS - clock.monotonicMs();
    return leftMs > 0 ? throwRefusal(this.#within(leftMs, refusal)) : undefined;
  }

  /** Checks once per `periodMs` until the session ends, so that an unused access ends too. Never rejects. */
  async watch(session: Session): Promise<void> {
    const { clock, periodMs, log } = this.#parts;
    const { principal } = session;
    if (principal === undefined) return;
    const { signal } = session.ending;
    while (!signal.aborted) {
      await clock.sleep(periodMs, signal);
      if (signal.aborted) return;
      await throwRefusal(this.#call(session, principal).refusal).catch((error: unknown) =>
        log.warn('a direct access was refused, or its principal could not be checked', { disk: session.name, error }),
      );
    }
  }

  #holdingOf(session: Session): Holding {
    const holding = this.#holdings.get(session) ?? { grantedAt: undefined, call: undefined };
    this.#holdings.set(session, holding);
    return holding;
  }

  /** Makes one call to identity at a time for each session. */
  #call(session: Session, principal: Principal): NonNullable<Holding['call']> {
    const holding = this.#holdingOf(session);
    if (holding.call) return holding.call;
    const { clock } = this.#parts;
    const calledAt = readingOf(clock);
    const refusal = this.#refusalOf(session, principal)
      .then((found) => {
        holding.grantedAt = found === undefined ? calledAt : undefined;
        return found;
      })
      .finally(() => {
        holding.call = undefined;
      });
    // A caller that does not wait learns of the failure from the next call.
    refusal.catch(() => undefined);
    holding.call = { sinceMs: clock.monotonicMs(), refusal };
    return holding.call;
  }

  /** @returns the refusal, after the access has ended; undefined if granted @throws RpcFailure */
  async #refusalOf(session: Session, principal: Principal): Promise<unknown> {
    const { authorize, log } = this.#parts;
    const decision = await authorize(principal, action, session.name);
    if (decision.principalActive && decision.allowed) return undefined;
    // If the store is unreachable, the access stays recorded: the next use makes the session again, and is refused again.
    await this.#end(session).catch((error: unknown) =>
      log.warn('the end of a direct access could not be recorded', { disk: session.name, error }),
    );
    return requirePermission(async () => decision, principal, action, session.name).catch((error: unknown) => error);
  }

  /** Drops the DEK first, because the store may be slow. */
  async #end({ name, access, isEnded }: Session): Promise<void> {
    if (isEnded) return;
    const { sessions, records, random } = this.#parts;
    sessions.end(name);
    const id = random.uuid();
    const cause: Cause = { correlationId: id, causes: [], caller: 'system:disk' };
    await records.endAccess(name, access.tokenHash, cause);
  }

  /** Resolves to the refusal, or to undefined after `leftMs` or a failure. */
  async #within(leftMs: number, refusal: Promise<unknown>): Promise<unknown> {
    const { promise: over, resolve } = Promise.withResolvers<undefined>();
    const alarm = this.#parts.clock.alarm(leftMs, () => resolve(undefined));
    try {
      return await Promise.race([refusal.catch(() => undefined), over]);
    } finally {
      alarm.cancel();
    }
  }
}

const throwRefusal = async (refusal: Promise<unknown>): Promise<void> => {
  const found = await refusal;
  if (found !== undefined) throw found;
};
