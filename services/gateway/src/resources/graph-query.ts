import { RestError } from '../errors/rest-error.ts';
import { type Lexicon, Scanner } from '../text/scanner.ts';
import {
  type Column,
  type Condition,
  countedBy,
  extend,
  lower,
  type Operator,
  orderBy,
  type Path,
  project,
  projectAway,
  where,
} from './graph-operators.ts';

/** Longest query, in characters. */
export const queryLengthMax = 10_000;
/** Most columns and conditions of a query: each is read in every row. */
const columnsMax = 200;

const invalid = (what: string): RestError =>
  new RestError(
    400,
    'NotSupported',
    `The query is not supported: ${what}. Supported: where (==, !=, =~, !~, contains, has, startswith, endswith, in~, isnotempty, isempty; joined by "and"), project, project-away, extend with a path, order by, limit, take, count, distinct, and summarize count() by.`,
  );

/** How queries are written. */
export const queryLexicon: Lexicon = {
  what: 'the query',
  lengthMax: queryLengthMax,
  pairs: new Set(['==', '!=', '=~', '!~']),
  hasDoubleQuotes: true,
  hasComments: true,
  invalid,
};

/** A query that was read. */
export interface GraphQuery {
  /** In lower case. */
  readonly table: string;
  readonly run: Operator;
}

/**
 * Reads a query: `Resources | where type =~ 'x' and name contains 'y' | project name, id | order by name | limit 5`.
 * @throws RestError 400 for what is not supported
 */
export const graphQueryOf = (query: string): GraphQuery => new QueryParser(query).whole();

class QueryParser {
  readonly #scanner: Scanner;
  #columns = 0;

  constructor(query: string) {
    this.#scanner = new Scanner(query, queryLexicon);
  }

  whole(): GraphQuery {
    const table = this.#scanner.expect('word', 'the name of a table').toLowerCase();
    const operators: Operator[] = [];
    while (this.#scanner.hasMark('|')) operators.push(this.#operator());
    if (!this.#scanner.isAtEnd()) throw this.#scanner.unexpected('"|" or the end');
    return {
      table,
      run: async (rows, work) => {
        let left = rows;
        for (const operator of operators) left = await operator(left, work);
        return left;
      },
    };
  }

  #operator(): Operator {
    const name = this.#scanner.expect('word', 'an operator').toLowerCase();
    switch (name) {
      case 'where':
        return where(this.#list('and', () => this.#condition()));
      case 'project':
        return this.#scanner.hasMark('-') ? this.#projectAway() : project(this.#columnList());
      case 'extend':
        return extend(this.#columnList());
      case 'limit':
      case 'take':
        return this.#limit();
      case 'order':
      case 'sort':
        return this.#orderBy();
      case 'count':
        return async (rows) => [{ Count: rows.length }];
      case 'distinct':
        return countedBy(this.#columnList(), undefined);
      case 'summarize':
        return this.#summarize();
      default:
        throw invalid(`the operator "${name.slice(0, 50)}" is unknown`);
    }
  }

  /** One or more, with a word or mark between them. */
  #list<Item>(between: string, one: () => Item): readonly Item[] {
    const items = [one()];
    while (between === ',' ? this.#scanner.hasMark(between) : this.#scanner.hasWord(between)) items.push(one());
    return items;
  }

  #columnList(): readonly Column[] {
    return this.#list(',', () => this.#column());
  }

  #projectAway(): Operator {
    if (!this.#scanner.hasWord('away')) throw this.#scanner.unexpected('"away"');
    return projectAway(new Set(this.#list(',', () => this.#scanner.expect('word', 'a column').toLowerCase())));
  }

  #limit(): Operator {
    const text = this.#scanner.expect('word', 'a number of rows');
    const count = Number(text);
    if (!Number.isSafeInteger(count)) throw invalid(`the number of rows must be a whole number (got "${text}")`);
    return async (rows) => rows.slice(0, count);
  }

  #orderBy(): Operator {
    if (!this.#scanner.hasWord('by')) throw this.#scanner.unexpected('"by"');
    const path = this.#path();
    // Descending unless it says otherwise, as in the language.
    const isAscending = this.#scanner.hasWord('asc');
    if (!isAscending) this.#scanner.hasWord('desc');
    return orderBy(path, isAscending);
  }

  #summarize(): Operator {
    const first = this.#scanner.expect('word', 'count()');
    const isNamed = this.#scanner.hasMark('=');
    const name = isNamed ? first : 'count_';
    const called = isNamed ? this.#scanner.expect('word', 'count()') : first;
    if (called.toLowerCase() !== 'count') throw invalid(`summarize must be count() by (got "${called.slice(0, 50)}")`);
    this.#scanner.expectMark('(');
    this.#scanner.expectMark(')');
    if (this.#scanner.hasWord('by')) return countedBy(this.#columnList(), name);
    return async (rows) => [{ [name]: rows.length }];
  }

  /** `[alias =] path`, `[alias =] tolower(path)`. */
  #column(): Column {
    const first = this.#scanner.expect('word', 'a path');
    const alias = this.#scanner.hasMark('=') ? first : undefined;
    const word = alias === undefined ? first : this.#scanner.expect('word', 'a path');
    const { path, isLower } = this.#wrappedPath(word);
    return { shown: alias ?? path.join('_'), path, isLower };
  }

  /** A path, or one in `tolower()` or `tostring()`. @param first its first word */
  #wrappedPath(first: string): { readonly path: Path; readonly isLower: boolean } {
    if (!this.#scanner.hasMark('(')) return { path: this.#path(first), isLower: false };
    const wrapper = first.toLowerCase();
    if (wrapper !== 'tolower' && wrapper !== 'tostring') {
      throw invalid(`the function "${first.slice(0, 50)}" is unknown`);
    }
    const path = this.#path();
    this.#scanner.expectMark(')');
    return { path, isLower: wrapper === 'tolower' };
  }

  #path(first = this.#scanner.expect('word', 'a path')): Path {
    this.#columns += 1;
    const path = [first];
    for (;;) {
      if (this.#scanner.hasMark('.')) path.push(this.#scanner.expect('word', 'the name of a member'));
      else if (this.#scanner.hasMark('[')) {
        path.push(this.#scanner.expect('text', 'the name of a member in quotes'));
        this.#scanner.expectMark(']');
      } else break;
      this.#columns += 1;
    }
    if (this.#columns > columnsMax) throw invalid(`it has more than ${columnsMax} columns, conditions and members`);
    return path;
  }

  #condition(): Condition {
    const first = this.#scanner.expect('word', 'a condition');
    const check = first.toLowerCase();
    if (emptyChecks.has(check) && this.#scanner.hasMark('(')) {
      const path = this.#path();
      this.#scanner.expectMark(')');
      const isWanted = check.startsWith('isnot');
      return { path, fits: (value) => (lower(value) !== '') === isWanted };
    }
    const { path, isLower } = this.#wrappedPath(first);
    const fits = this.#comparison();
    return { path, fits: isLower ? (value) => fits(lower(value)) : fits };
  }

  #comparison(): Condition['fits'] {
    const { kind, text } = this.#scanner.next;
    const sign = text.toLowerCase();
    if (kind !== 'mark' && kind !== 'word') throw this.#scanner.unexpected('a comparison');
    if (sign === 'in' && kind === 'word') return this.#isIn();
    const compare = Object.hasOwn(comparisons, sign) ? comparisons[sign] : undefined;
    if (compare === undefined) throw this.#scanner.unexpected('a comparison such as ==, =~ or contains');
    this.#scanner.take();
    const wanted = this.#literal();
    return (value) => compare(value, wanted);
  }

  #isIn(): Condition['fits'] {
    this.#scanner.take();
    this.#scanner.hasMark('~');
    this.#scanner.expectMark('(');
    const values = new Set(this.#list(',', () => lower(this.#literal())));
    this.#scanner.expectMark(')');
    return (value) => values.has(lower(value));
  }

  #literal(): unknown {
    if (this.#scanner.next.kind === 'text') return this.#scanner.take().text;
    const sign = this.#scanner.hasMark('-') ? '-' : '';
    const word = this.#scanner.expect('word', 'a text in quotes, a number, true or false').toLowerCase();
    if (sign === '' && (word === 'true' || word === 'false')) return word === 'true';
    const value = Number(`${sign}${word}`);
    if (Number.isInteger(value)) return value;
    throw invalid(`the value must be a text in quotes, a number, true or false (got "${word.slice(0, 50)}")`);
  }
}

const emptyChecks: ReadonlySet<string> = new Set(['isnotempty', 'isempty', 'isnotnull', 'isnull']);

const comparisons: Readonly<Record<string, (value: unknown, wanted: unknown) => boolean>> = {
  '==': (value, wanted) => value === wanted,
  '!=': (value, wanted) => value !== wanted,
  '=~': (value, wanted) => lower(value) === lower(wanted),
  '!~': (value, wanted) => lower(value) !== lower(wanted),
  contains: (value, wanted) => lower(value).includes(lower(wanted)),
  has: (value, wanted) => lower(value).includes(lower(wanted)),
  startswith: (value, wanted) => lower(value).startsWith(lower(wanted)),
  endswith: (value, wanted) => lower(value).endsWith(lower(wanted)),
};
