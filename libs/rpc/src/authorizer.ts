import type { Clock } from '@interlock/runtime';
import type { Principal } from './call.ts';

/** An answer of identity to "may this principal do this here?". */
export interface Decision {
  readonly allowed: boolean;
  /** False once the principal was deleted: then nothing it presents is accepted. */
  readonly principalActive: boolean;
  /** Everything in identity's feed up to here was taken into account. Absent where identity judges for itself. */
  readonly position?: number;
  /** Where the role was given that allows it: the yes holds for everything there and below. Absent or empty: nowhere else. */
  readonly grantedAt?: string;
}

/** Whether a scope lies at or under another, by whole path segments: `/` holds everything (KV-73). */
export const covers = (outer: string, inner: string): boolean =>
  outer === '/' || inner === outer || inner.startsWith(`${outer}/`);

/**
 * Says whether a principal may perform an action at a scope.
 * @param atLeast position in identity's feed that the answer must know of: for a caller that has heard of a change there
 * @throws RpcFailure when it cannot be found out; that is neither yes nor no
 */
export type Authorizer = (principal: Principal, action: string, scope: string, atLeast?: number) => Promise<Decision>;

/** An authorizer that remembers. */
export interface CachingAuthorizer {
  readonly authorize: Authorizer;
  /** Forgets every answer, also those on their way: after it every question is asked anew. */
  invalidate(): void;
}

export interface CachingAuthorizerOptions {
  /** Asks identity (`CheckPermission`). */
  readonly check: Authorizer;
  readonly clock: Pick<Clock, 'monotonicMs'>;
  /** Longest use of an answer, yes or no, counted from before the question was sent. At most half of `leaseTtl` (G1). */
  readonly authzTtlMs: number;
  /** Answers held, and as many pairs of principal and action for which roles are known; the oldest go first. Default 10,000. */
  readonly entriesMax?: number;
}

/** A yes, for a scope and everything below it. */
interface Grant {
  readonly scope: string;
  readonly askedMs: number;
  readonly decision: Decision;
}

/** Makes room for one more; the oldest goes. */
const limit = (remembered: Map<string, unknown>, entriesMax: number): void => {
  if (remembered.size <= entriesMax) return;
  const [oldest] = remembered.keys();
  if (oldest !== undefined) remembered.delete(oldest);
};

/**
 * Remembers answers for a short time and merges equal questions that are asked at the same time. A yes also answers
 * questions about the same action elsewhere under the scope of the role it rests on: whoever has a role over many
 * machines is asked about once, not once a machine.
 */
export function cachingAuthorizer({
  check,
  clock,
  authzTtlMs,
  entriesMax = 10_000,
}: CachingAuthorizerOptions): CachingAuthorizer {
  let answers = new Map<string, { readonly askedMs: number; readonly decision: Promise<Decision> }>();
  /** By principal and action. */
  let grants = new Map<string, readonly Grant[]>();

  const isYoung = ({ askedMs }: { readonly askedMs: number }): boolean => clock.monotonicMs() - askedMs < authzTtlMs;
  // An answer from before a change its asker has heard of is none, however young it is.
  const knows = ({ position = 0 }: Decision, atLeast: number): boolean => atLeast === 0 || position >= atLeast;

  const remember = (wish: string, askedMs: number, decision: Decision): void => {
    const { allowed, grantedAt: scope } = decision;
    if (!allowed || scope === undefined || scope === '') return;
    const others = (grants.get(wish) ?? []).filter((grant) => grant.scope !== scope && isYoung(grant));
    grants.delete(wish);
    grants.set(wish, [...others, { scope, askedMs, decision }]);
    limit(grants, entriesMax);
  };

  const authorize: Authorizer = async (principal, action, scope, atLeast = 0) => {
    // Neither the id, a UUID, nor the action has a blank in it.
    const wish = `${principal.id} ${action}`;
    const question = `${wish} ${scope}`;
    const granted = grants
      .get(wish)
      ?.find((grant) => covers(grant.scope, scope) && isYoung(grant) && knows(grant.decision, atLeast));
    if (granted) return granted.decision;
    const askedMs = clock.monotonicMs();
    const known = answers.get(question);
    if (known !== undefined && isYoung(known)) {
      const decision = await known.decision;
      if (knows(decision, atLeast)) return decision;
    }

    const generation = answers;
    const decision = check(principal, action, scope, atLeast);
    generation.delete(question);
    generation.set(question, { askedMs, decision });
    limit(generation, entriesMax);
    decision.then(
      (answer) => {
        if (generation === answers) remember(wish, askedMs, answer);
      },
      () => {
        // A failure is no answer and is not remembered; whoever asked gets it from `decision` itself.
        if (generation.get(question)?.decision === decision) generation.delete(question);
      },
    );
    return decision;
  };

  return {
    authorize,
    invalidate: () => {
      answers = new Map();
      grants = new Map();
    },
  };
}
