import { helpInGeneral } from '../../libs/rpc/src/help.ts';
import { type Reasons, standsFor } from './reasons.ts';
import { lineOf, type Row, rowOf } from './table.ts';

/** The page, as a path from the root. */
export const errorPage = 'docs/errors.md';

/** The text of an empty cell. */
const missing = '–';
const promisedLine = /^Named in the API description, not returned yet: .*$/m;

/** Rows of the page by reason: reason, codes, meaning, who acts. */
export const reasonRows = (page: string): ReadonlyMap<string, Row> =>
  new Map(
    page.split('\n').flatMap((line) => {
      const reason = reasonIn(line);
      return reason === undefined ? [] : [[reason, rowOf(line) ?? []] as const];
    }),
  );

/** Codes of a row. */
export const codesOf = (row: Row): readonly string[] => (row[1] ?? '').match(/[A-Z_]+/g) ?? [];

/** Whether a row still lacks text. An empty last cell means that the caller corrects the request. */
export const isWordless = (row: Row): boolean =>
  row.length !== 4 || row[1] === '' || row[2] === '' || row.includes(missing);

/** Reasons of the code that the page does not have. */
export const unlisted = (page: string, inCode: Reasons): readonly string[] => {
  const listed = [...reasonRows(page).keys()];
  return [...inCode.keys()].filter((name) => !listed.some((reason) => standsFor(name, reason))).sort();
};

/** Reasons of the page that the code does not have. */
export const unknown = (page: string, inCode: Reasons): readonly string[] =>
  [...reasonRows(page).keys()].filter((reason) => !isThrown(reason, inCode)).sort();

/** Reasons that the API names and no service returns. */
export const unanswered = (inCode: Reasons, inApi: ReadonlySet<string>): readonly string[] =>
  [...inApi].filter((reason) => !isThrown(reason, inCode)).sort();

/** The help of a reason in Markdown, with commands as code. Undefined if the page itself says who acts. */
export const helpCell = (reason: string): string | undefined =>
  helpInGeneral(reason)
    ?.split(/(interlock (?:[^.,;()]|,(?! )|\.(?! |$))*[^\s.,;()])/)
    .map((part, index) => (index % 2 === 1 ? `\`${part}\`` : part.replaceAll('<', '\\<')))
    .join('');

/**
 * The sorted page: a row for every reason of the code, with its codes and its help, and the further reasons in the API
 * description. New reasons have no text yet.
 */
export const completed = (page: string, inCode: Reasons, inApi: ReadonlySet<string>): string => {
  const rows = [...reasonRows(page)].filter(([reason]) => isThrown(reason, inCode));
  const added = unlisted(page, inCode).map((reason) => [reason, [`\`${reason}\``, missing, missing, missing]] as const);
  const lines = [...rows, ...added]
    .sort(([one], [other]) => (one < other ? -1 : 1))
    .map(([reason, [name = '', , meaning = missing, action = missing]]) => {
      const known = codesOf(reasonRows(page).get(reason) ?? []);
      const all = new Set([...known, ...(inCode.get(reason)?.codes ?? [])]);
      return lineOf([name, all.size === 0 ? missing : [...all].join(', '), meaning, helpCell(reason) ?? action]);
    });
  const outside = page.split('\n').map((line) => (reasonIn(line) === undefined ? line : undefined));
  const first = outside.indexOf(undefined);
  const kept = outside.flatMap((line, index) => (index === first ? lines : (line ?? [])));
  const promised = unanswered(inCode, inApi).map((reason) => `\`${reason}\``);
  return kept
    .join('\n')
    .replace(
      promisedLine,
      `Named in the API description, not returned yet: ${promised.length === 0 ? 'none' : promised.join(', ')}.`,
    );
};

const isThrown = (reason: string, inCode: Reasons): boolean =>
  [...inCode.keys()].some((name) => standsFor(name, reason));

const reasonIn = (line: string): string | undefined => /^\| `([A-Z][A-Z0-9_*]+)` \|/.exec(line)?.[1];
