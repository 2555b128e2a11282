import type { RuleProofs } from './rule-proofs.ts';
import { lineOf, rowOf } from './table.ts';

/** The page, as a path from the root. */
export const rulePage = 'docs/rules.md';

const notCovered = 'not covered:';
const unproved = '–';
const countLine = /^\d+ rules\b.*$/m;

/** Tests of a rule on the page, at most. */
const linksMax = 3;

/** Ids of the rules on the page, in its order. */
export const rulesOn = (page: string): readonly string[] => page.split('\n').flatMap((line) => ruleIn(line) ?? []);

/** The page with its last column and the count at its top from the proofs. A rule that is not covered keeps its reason. */
export const withProofs = (page: string, proofs: RuleProofs): string => {
  const notImplemented: string[] = [];
  const count = { proved: 0, unproved: 0 };
  const lines = page.split('\n').map((line) => {
    const rule = ruleIn(line);
    const [id = '', words = '', before = ''] = rowOf(line) ?? [];
    if (rule === undefined) return line;
    const files = proofs.get(rule);
    if (files !== undefined) {
      count.proved += 1;
      return lineOf([id, words, files.slice(0, linksMax).map(link).join(', ')]);
    }
    if (before.startsWith(notCovered)) {
      notImplemented.push(rule);
      return line;
    }
    count.unproved += 1;
    return lineOf([id, words, unproved]);
  });
  const all = count.proved + notImplemented.length + count.unproved;
  const named = notImplemented.length === 0 ? '' : ` (${notImplemented.join(', ')})`;
  return lines
    .join('\n')
    .replace(
      countLine,
      `${all} rules: ${count.proved} named by tests, ${notImplemented.length} not implemented${named}, ${count.unproved} without a test.`,
    );
};

const ruleIn = (line: string): string | undefined => /^\| ([A-Z]+-\d+) \|/.exec(line)?.[1];

/** A link from the page's folder, named after the package and the file. */
const link = (file: string): string => {
  const [, owner, ...rest] = file.split('/');
  return `[${owner}/${rest.at(-1)?.replace(/(\.test)?\.ts$/, '')}](../${file})`;
};
