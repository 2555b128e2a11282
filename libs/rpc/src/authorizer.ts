import type { Clock } from '@interlock/runtime';
import type { Principal } from './call.ts';

/** An answer of identity to "may this principal do this here?". */
export interface Decision {
  readonly allowed: boolean;
  /** False once the principal was deleted: then nothing it presents is accepted. */
  readonly principalActive: boolean;
  /** Everything in identity's feed up to here was taken into account. Absent where identity judges for itself. */
  readonly position?: number;
}

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
  /** Answers held; the oldest go first. Default 10,000. */
  readonly entriesMax?: number;
}

/** Remembers answers for a short time and merges equal questions that are asked at the same time. */
export function cachingAuthorizer({
  check,
  clock,
  authzTtlMs,
  entriesMax = 10_000,
}: CachingAuthorizerOptions): CachingAuthorizer {
  let answers = new Map<string, { readonly askedMs: number; readonly decision: Promise<Decision> }>();

  const authorize: Authorizer = async (principal, action, scope, atLeast = 0) => {
    // Neither the id, a UUID, nor the action has a blank in it.
    const question = `${principal.id} ${action} ${scope}`;
    const askedMs = clock.monotonicMs();
    const known = answers.get(question);
    if (known !== undefined && askedMs - known.askedMs < authzTtlMs) {
      const decision = await known.decision;
      // An answer from before a change its asker has heard of is none, however young it is.
      if (atLeast === 0 || (decision.position ?? 0) >= atLeast) return decision;
    }

    const generation = answers;
    const decision = check(principal, action, scope, atLeast);
    generation.delete(question);
    generation.set(question, { askedMs, decision });
    if (generation.size > entriesMax) {
      const [oldest] = generation.keys();
      if (oldest !== undefined) generation.delete(oldest);
    }
    // A failure is no answer and is not remembered; whoever asked gets it from `decision` itself.
    decision.catch(() => {
      if (generation.get(question)?.decision === decision) generation.delete(question);
    });
    return decision;
  };

  return {
    authorize,
    invalidate: () => {
      answers = new Map();
    },
  };
}
