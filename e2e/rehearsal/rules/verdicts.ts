import type { Gathered } from '../evidence/evidence.ts';
import { keyRules } from './keys.ts';
import { causeRules } from './lab.ts';
import { losingRules } from './losing.ts';
import { returningRules } from './returning.ts';
import { rotationRules } from './rotation.ts';
import type { Rule, Verdict } from './rule.ts';
import { settingUpRules } from './setting-up.ts';

/** Every rule the rehearsal judges, in the order of their numbers. */
export const rules: readonly Rule[] = [
  ...settingUpRules,
  ...keyRules,
  ...rotationRules,
  ...losingRules,
  ...returningRules,
  ...causeRules,
].toSorted((a, b) => numberOf(a) - numberOf(b));

function numberOf({ id }: Rule): number {
  return Number(id.slice(id.indexOf('-') + 1));
}

/** Judges every rule. @param problems of the rehearsal, for rules without evidence */
export const judge = (evidence: Gathered, problems: readonly string[]): readonly Verdict[] =>
  rules.map((rule) => rule.judge(evidence, problems));
