import { ageMs, type Clock, type ClockReading, readingOf } from '@interlock/runtime';
import { type ActionPatterns, holdsAction } from './action-patterns.ts';
import { type Principal, runAsCall } from './call.ts';

/** A response of identity to "may this principal do this here?". */
export interface Decision {
  readonly allowed: boolean;
  /** False once the principal is deleted: then all of its tokens are refused. */
  readonly principalActive: boolean;
  /** Position in identity's feed up to which the decision includes all events. Absent if identity itself decides. */
  readonly position?: number;
  /** Scope at which the allowing role is assigned: the grant includes everything below. Absent or empty: only the checked scope. */
  readonly grantedAt?: string;
  /** Patterns of the actions that the role allows there; absent: only the checked action. */
  readonly grantedActions?: readonly string[];
  /** Patterns that the role excludes. */
  readonly grantedNotActions?: readonly string[];
}

/** Whether a scope is `outer` or below it, by whole path segments: `/` includes everything (KV-73). */
export const covers = (outer: string, inner: string): boolean =>
  outer === '/' || inner === outer || inner.startsWith(`${outer}/`);

/**
 * Decides whether a principal may perform an action at a scope.
 * @param atLeast position in identity's feed that the decision must include: for a caller that has received a change there
 * @throws RpcFailure when identity cannot be reached: neither granted nor refused
 */
export type Authorizer = (principal: Principal, action: string, scope: string, atLeast?: number) => Promise<Decision>;

/** An authorizer with a cache. */
export interface CachingAuthorizer {
  readonly authorize: Authorizer;
  /** A cached decision that grants the action, at once; undefined if `authorize` has to decide. */
  readonly cachedGrant: (principal: Principal, action: string, scope: string) => Decision | undefined;
  /** Drops every cached decision and every pending one: the next check of each is requested again. */
  invalidate(): void;
}

export interface CachingAuthorizerOptions {
  /** Calls identity (`CheckPermission`). */
  readonly check: Authorizer;
  readonly clock: Pick<Clock, 'monotonicMs' | 'bootMs'>;
  /**
   * How long a decision is used, granted or refused, since the check was sent. It is measured by the clock that advanced most, because
   * the monotonic clock stops while the machine is suspended. At most half of `leaseTtl` (G1).
   */
  readonly authzTtlMs: number;
  /** Most cached decisions, and most principals with cached grants; the oldest are dropped first. Default 10,000. */
  readonly entriesMax?: number;
}

/** A grant of some actions at a scope and everything below it. */
interface Grant extends ActionPatterns {
  readonly scope: string;
  readonly calledAt: ClockReading;
  readonly decision: Decision;
}

/** Drops the oldest entry if there is no room for another one. */
const limit = (remembered: Map<string, unknown>, entriesMax: number): void => {
  if (remembered.size <= entriesMax) return;
  const [oldest] = remembered.keys();
  if (oldest !== undefined) remembered.delete(oldest);
};

/** A decision older than the position the caller has consumed is not used, whatever its age. */
const knows = ({ position = 0 }: Decision, atLeast: number): boolean => atLeast === 0 || position >= atLeast;

/** The grants of principals, each with everything that its role allows. */
class Grants {
  readonly #ofPrincipals = new Map<string, readonly Grant[]>();
  readonly #entriesMax: number;
  readonly #isYoung: (calledAt: ClockReading, now: ClockReading) => boolean;

  constructor(entriesMax: number, isYoung: (calledAt: ClockReading, now: ClockReading) => boolean) {
    this.#entriesMax = entriesMax;
    this.#isYoung = isYoung;
  }

  find(now: ClockReading, { id }: Principal, action: string, scope: string, atLeast: number): Decision | undefined {
    const isAnswer = (grant: Grant): boolean =>
      covers(grant.scope, scope) &&
      this.#isYoung(grant.calledAt, now) &&
      knows(grant.decision, atLeast) &&
      holdsAction(grant, action);
    return this.#ofPrincipals.get(id)?.find(isAnswer)?.decision;
  }

  add(
    id: string,
    action: string,
    { calledAt, decision }: Pick<Grant, 'calledAt' | 'decision'>,
    now: ClockReading,
  ): void {
    const { allowed, grantedAt: scope, grantedActions = [], grantedNotActions: notActions = [] } = decision;
    if (!allowed || scope === undefined || scope === '') return;
    const actions = grantedActions.length > 0 ? grantedActions : [action];
    // The new grant replaces an equal one.
    const isSaid = (grant: Grant): boolean => grant.scope === scope && holdsAction(grant, action);
    const others = (this.#ofPrincipals.get(id) ?? []).filter(
      (grant) => !isSaid(grant) && this.#isYoung(grant.calledAt, now),
    );
    this.#ofPrincipals.delete(id);
    this.#ofPrincipals.set(id, [...others, { scope, actions, notActions, calledAt, decision }]);
    limit(this.#ofPrincipals, this.#entriesMax);
  }
}

/**
 * Caches decisions for a short time and merges equal concurrent checks. A granted decision also covers every action of
 * its role under the scope of that role. A principal with a role over many machines needs one check, not one for each
 * machine or action.
 */
export function cachingAuthorizer({
  check,
  clock,
  authzTtlMs,
  entriesMax = 10_000,
}: CachingAuthorizerOptions): CachingAuthorizer {
  const isYoung = (calledAt: ClockReading, now: ClockReading): boolean => ageMs(calledAt, now) < authzTtlMs;
  let answers = new Map<string, { readonly calledAt: ClockReading; readonly decision: Promise<Decision> }>();
  let grants = new Grants(entriesMax, isYoung);

  const authorize: Authorizer = async (principal, action, scope, atLeast = 0) => {
    const now = readingOf(clock);
    const granted = grants.find(now, principal, action, scope, atLeast);
    if (granted) return granted;
    // Unambiguous: neither the id (a UUID) nor the action contains a space.
    const question = `${principal.id} ${action} ${scope}`;
    const known = answers.get(question);
    if (known !== undefined && isYoung(known.calledAt, now)) {
      const decision = await known.decision;
      if (knows(decision, atLeast)) return decision;
    }

    const generation = answers;
    // Equal checks share this request. It runs outside of any call, so it continues after the deadline of one caller.
    const decision = runAsCall(undefined, () => check(principal, action, scope, atLeast));
    generation.delete(question);
    generation.set(question, { calledAt: now, decision });
    limit(generation, entriesMax);
    decision.then(
      (answer) => {
        if (generation !== answers) return;
        grants.add(principal.id, action, { calledAt: now, decision: answer }, readingOf(clock));
      },
      () => {
        // A failure is not cached. The callers receive it from `decision`.
        if (generation.get(question)?.decision === decision) generation.delete(question);
      },
    );
    return decision;
  };

  return {
    authorize,
    cachedGrant: (principal, action, scope) => grants.find(readingOf(clock), principal, action, scope, 0),
    invalidate: () => {
      answers = new Map();
      grants = new Grants(entriesMax, isYoung);
    },
  };
}
