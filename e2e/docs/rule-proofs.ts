import { isLong } from '@interlock/local/test-run/selection.ts';
import { filesLike, textOf } from './sources.ts';
import { firstTextsOf, testTitles } from './test-titles.ts';

/** Files that prove a rule, as paths from the root, by the id of the rule; those that only `npm run test:all` runs come last. */
export type RuleProofs = ReadonlyMap<string, readonly string[]>;

const testFile = /\.test\.ts$/;
/** Rules that the rehearsal checks, each in calls of `see`. */
const rehearsalSteps = /^e2e\/rehearsal\/(?:steps\/[^/]+|judged)\.ts$/;
const ruleId = /\b(?:CMK|KV|VM|REST)-\d{2,3}\b/g;

/** The tests of each rule: tests name it in their titles ("CMK-100: …", "… (KV-11, KV-12)"), the rehearsal in `see('CMK-100', …)`. */
export const ruleProofs = (): RuleProofs => {
  const proofs = new Map<string, string[]>();
  for (const file of filesLike(/\.ts$/)) {
    for (const rule of rulesNamedIn(file)) proofs.set(rule, [...(proofs.get(rule) ?? []), file]);
  }
  for (const files of proofs.values()) files.sort((a, b) => Number(isLong(a)) - Number(isLong(b)));
  return proofs;
};

const rulesNamedIn = (file: string): ReadonlySet<string> => {
  if (testFile.test(file)) return new Set(testTitles(file, textOf(file)).flatMap(ruleIdsIn));
  return new Set(rehearsalSteps.test(file) ? firstTextsOf('see', file, textOf(file)).flatMap(ruleIdsIn) : []);
};

/** Ids in a text, in its order. */
export const ruleIdsIn = (text: string): readonly string[] => text.match(ruleId) ?? [];
