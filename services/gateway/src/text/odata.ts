import { type Lexicon, Scanner } from './scanner.ts';

/** A term of a `$filter`: `name eq 'a'`, `startswith(name,'a')`, `names/any(n:n eq 'a')`. */
export interface FilterTerm {
  /** The member or function, in lower case. */
  readonly name: string;
  /** In lower case; `()` for a function. */
  readonly operator: string;
  /** The text that is compared, or the arguments of the function; of `any`, the text that one of the members equals. */
  readonly given: readonly string[];
  /** For errors. */
  readonly shown: string;
}

/** Longest `$filter`, in characters: several ARM ids fit. */
export const filterLengthMax = 4_000;

/** How `$filter` is written. @param invalid makes the refusal of the list that has it */
export const filterLexicon = (invalid: Lexicon['invalid']): Lexicon => ({
  what: 'the $filter',
  lengthMax: filterLengthMax,
  invalid,
});

/**
 * Reads a `$filter` of terms that are joined by "and", the form that clients send for lists. Parentheses around terms change nothing.
 * @returns no terms for an absent or blank filter
 * @throws RestError for another form
 */
export const termsOf = (filter: string | undefined, lexicon: Lexicon): readonly FilterTerm[] => {
  const source = filter ?? '';
  const scanner = new Scanner(source, lexicon);
  const terms: FilterTerm[] = [];
  if (scanner.isAtEnd()) return terms;
  let open = 0;
  do {
    while (scanner.hasMark('(')) open += 1;
    const { at } = scanner.next;
    const term = termOf(scanner);
    terms.push({ ...term, shown: source.slice(at, scanner.next.at).slice(0, 100) });
    while (open > 0 && scanner.hasMark(')')) open -= 1;
  } while (scanner.hasWord('and'));
  if (open > 0) throw scanner.unexpected('")"');
  if (!scanner.isAtEnd()) throw scanner.unexpected('"and" or the end');
  return terms;
};

const termOf = (scanner: Scanner): Omit<FilterTerm, 'shown'> => {
  const name = pathOf(scanner).toLowerCase();
  if (scanner.hasMark('(')) return { name, operator: '()', given: argumentsOf(scanner) };
  const operator = scanner.expect('word', 'an operator such as eq').toLowerCase();
  return { name, operator, given: [scanner.expect('text', 'a text in single quotes')] };
};

const pathOf = (scanner: Scanner): string => {
  const parts = [scanner.expect('word', 'the name of a member')];
  while (scanner.hasMark('/')) parts.push(scanner.expect('word', 'the name of a member'));
  return parts.join('/');
};

const argumentsOf = (scanner: Scanner): readonly string[] => {
  const given: string[] = [];
  if (scanner.hasMark(')')) return given;
  do given.push(scanner.next.kind === 'text' ? scanner.take().text : memberArgument(scanner));
  while (scanner.hasMark(','));
  scanner.expectMark(')');
  return given;
};

/** A member, or `c:c eq 'a'` in `any`: one of the members equals the text. */
const memberArgument = (scanner: Scanner): string => {
  const member = pathOf(scanner);
  if (!scanner.hasMark(':')) return member;
  if (!scanner.hasWord(member.toLowerCase())) throw scanner.unexpected(`"${member.slice(0, 50)}"`);
  if (!scanner.hasWord('eq')) throw scanner.unexpected('eq');
  return scanner.expect('text', 'a text in single quotes');
};
