import type { RuleProofs } from './rule-proofs.ts';
import { lineOf, rowOf } from './table.ts';

/** The page, as a path from the root. */
export const rulePage = 'docs/rules.md';

const notCovered = 'not covered:';
const unproved = '–';
const countLine = /^\d+ rules\b.*$/m;

/** Ids of the rules on the page, in its order. */
export const rulesOn = (page: string): readonly string[] => page.split('\n').flatMap((line) => ruleIn(line) ?? []);

/** The page with its last column, and the count at its top, as the proofs say. What is not covered keeps its reason. */
export const withProofs = (page: string, proofs: RuleProofs): string => {
  const count = { proved: 0, notCovered: 0, unproved: 0 };
  const lines = page.split('\n').map((line) => {
    const rule = ruleIn(line);
    const [id = '', words = '', before = ''] = rowOf(line) ?? [];
    if (rule === undefined) return line;
    const files = proofs.get(rule);
    if (files !== undefined) {
      count.proved += 1;
      return lineOf([id, words, files.map(link).join(', ')]);
    }
    if (before.startsWith(notCovered)) {
      count.notCovered += 1;
      return line;
    }
    count.unproved += 1;
    return lineOf([id, words, unproved]);
  });
  const all = count.proved + count.notCovered + count.unproved;
  return lines
    .join('\n')
    .replace(
      countLine,
      `${all} rules: ${count.proved} named by tests, ${count.notCovered} not covered, ${count.unproved} without a test.`,
    );
};

const ruleIn = (line: string): string | undefined => /^\| ([A-Z]+-\d+) \|/.exec(line)?.[1];

/** A link from the folder of the page; its text is the package and the name of the file. */
const link = (file: string): string => {
  const [, owner, ...rest] = file.split('/');
  return `[${owner}/${rest.at(-1)?.replace(/(\.test)?\.ts$/, '')}](../${file})`;
};
