import { RestError } from '../errors/rest-error.ts';
import { filterLexicon, termsOf } from '../text/odata.ts';

/** Terms of a `$filter`, by the member that they compare, in lower case. */
export type FilterTerms = Readonly<Record<string, string>>;

/**
 * Reads `<member> eq '<value>' and <member> eq '<value>'`, the form that clients send for lists.
 * @param allowed members in lower case
 * @throws RestError 400 for another form or member
 */
export const filterOf = (text: string | undefined, allowed: readonly string[]): FilterTerms => {
  const invalid = (what: string): RestError =>
    new RestError(
      400,
      'InvalidFilterInQueryString',
      `Invalid $filter: ${what}. Each term must be <member> eq '<value>', joined by "and". Members: ${allowed.join(', ')}.`,
    );
  const terms = termsOf(text, filterLexicon(invalid)).map(({ name, operator, given: [value = ''], shown }) => {
    if (operator === 'eq' && allowed.includes(name)) return [name, value] as const;
    throw invalid(`the term "${shown}" is unknown`);
  });
  return Object.fromEntries(terms);
};
