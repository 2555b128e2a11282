import { RestError } from '../errors/rest-error.ts';

/** Terms of a `$filter`, by the member that they compare, in lower case. */
export type FilterTerms = Readonly<Record<string, string>>;

/**
 * Reads `<member> eq '<value>' and <member> eq '<value>'`, the form that clients send for lists.
 * @param allowed members in lower case
 * @throws RestError 400 for another form or member
 */
export const filterOf = (text: string | undefined, allowed: readonly string[]): FilterTerms => {
  if (text === undefined || text.trim() === '') return {};
  const terms = text.split(/\s+and\s+/i).map((term): readonly [string, string] => {
    const [, member, value] = /^\(*\s*([\w/]+)\s+eq\s+'((?:[^']|'')*)'\s*\)*$/i.exec(term.trim()) ?? [];
    if (member !== undefined && value !== undefined && allowed.includes(member.toLowerCase()))
      return [member.toLowerCase(), value.replaceAll("''", "'")];
    throw new RestError(
      400,
      'InvalidFilterInQueryString',
      `Invalid $filter '${text.slice(0, 200)}': each term must be <member> eq '<value>', joined by "and". Members: ${allowed.join(', ')}.`,
    );
  });
  return Object.fromEntries(terms);
};
