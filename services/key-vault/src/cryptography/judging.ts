import { principalOf } from '@interlock/rpc';
import { FoundSubjects } from '../audit/draft.ts';
import type { AuditedCall } from '../audit/log.ts';
import type { KeyUrls } from '../names.ts';
import { addressOf } from '../vault/network-rules.ts';

/** A judgement or an error, and the subjects found on the way, for the audit entry of each caller. */
export type Judged<Judgement> = { readonly subjects: FoundSubjects } & (
  | { readonly judgement: Judgement }
  | { readonly error: unknown }
);

/**
 * Judges equal questions of one principal in one turn of the event loop once: a batch of unwraps with one key is one decision,
 * and each unwrap has its own audit entry. Nothing is cached: judging starts after all its callers have called, and a later
 * caller is judged again.
 *
 * @param question text of everything that the judgement depends on, except the principal and its address
 * @param judge its cause is the first caller's
 */
export type Judging = <Judgement>(
  question: string,
  call: AuditedCall,
  judge: (subjects: FoundSubjects) => Promise<Judgement>,
) => Promise<Judged<Judgement>>;

/** Opens it. */
export const openJudging = (urls: KeyUrls): Judging => {
  const open = new Map<string, Promise<Judged<unknown>>>();
  return <Judgement>(
    question: string,
    call: AuditedCall,
    judge: (subjects: FoundSubjects) => Promise<Judgement>,
  ): Promise<Judged<Judgement>> => {
    const { name, tenant } = principalOf(call);
    const whole = `${name} ${tenant} ${addressOf(call.peer) ?? ''} ${question}`;
    const known = open.get(whole);
    // Equal questions are judged by the same function.
    if (known) return known as Promise<Judged<Judgement>>;
    const begin = async (): Promise<Judged<Judgement>> => {
      // A microtask later, and before anything is read: from here on no caller joins.
      await undefined;
      open.delete(whole);
      const subjects = new FoundSubjects(urls);
      try {
        return { subjects, judgement: await judge(subjects) };
      } catch (error) {
        return { subjects, error };
      }
    };
    const judging = begin();
    open.set(whole, judging);
    return judging;
  };
};

/** Records what was judged on the caller's audit entry. @returns the judgement @throws the reason of a failure */
export const recordJudgement = <Judgement>(
  judged: Judged<Judgement>,
  entry: { concerns(found: FoundSubjects): void },
): Judgement => {
  entry.concerns(judged.subjects);
  if ('error' in judged) throw judged.error;
  return judged.judgement;
};
