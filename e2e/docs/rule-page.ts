import type { RuleProofs } from './rule-proofs.ts';
import { lineOf, rowOf } from './table.ts';

/** The page, as a path from the root. */
export const rulePage = 'docs/rules.md';

const unproved = '–';
const countLine = /^\d+ rules\b.*$/m;
const notImplementedSection = /^## Not implemented$.*?(?=^## |$(?![\s\S]))/ms;

/** Tests of a rule on the page, at most. */
const linksMax = 2;

/** Ids of the rules on the page, in its order. */
export const rulesOn = (page: string): readonly string[] => page.split('\n').flatMap(rulesIn);

/** Ids of the rules that the page lists as not implemented, several in a row. */
export const notImplementedOn = (page: string): readonly string[] =>
  rulesOn(notImplementedSection.exec(page)?.[0] ?? '');

/** The page with its last column and the count at its top from the proofs. */
export const withProofs = (page: string, proofs: RuleProofs): string => {
  const notImplemented = new Set(notImplementedOn(page));
  const count = { proved: 0, unproved: 0 };
  const lines = page.split('\n').map((line) => {
    const [rule] = rulesIn(line);
    const [id = '', words = ''] = rowOf(line) ?? [];
    if (rule === undefined || notImplemented.has(rule)) return line;
    const files = proofs.get(rule);
    count[files === undefined ? 'unproved' : 'proved'] += 1;
    return lineOf([id, words, files?.slice(0, linksMax).map(link).join(', ') ?? unproved]);
  });
  const all = count.proved + notImplemented.size + count.unproved;
  return lines
    .join('\n')
    .replace(
      countLine,
      `${all} rules: ${count.proved} named by tests, ${notImplemented.size} not implemented, ${count.unproved} without a test.`,
    );
};

const rulesIn = (line: string): readonly string[] =>
  /^\| ([A-Z]+-\d+(?:, [A-Z]+-\d+)*) \|/.exec(line)?.[1]?.split(', ') ?? [];

/** A link from the page's folder, named after the package and the file. */
const link = (file: string): string => {
  const [, owner, ...rest] = file.split('/');
  return `[${owner}/${rest.at(-1)?.replace(/(\.test)?\.ts$/, '')}](../${file})`;
};
