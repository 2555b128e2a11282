import { RestError } from '../errors/rest-error.ts';

/** A row of a query: a resource as the resource graph shows it, or what an operator made of it. */
export type Row = Readonly<Record<string, unknown>>;

type Operator = (rows: readonly Row[]) => readonly Row[];

const path = "[\\w.]+(?:\\['[^']*'\\][\\w.]*)*";
const literal = '\'[^\']*\'|"[^"]*"|-?\\d+|true|false';
const term = new RegExp(
  `^(?:(tolower|tostring)\\()?\\s*(${path})\\s*\\)?\\s*(==|!=|=~|!~|contains|has|startswith|endswith)\\s*(${literal})$`,
  'i',
);
const inTerm = new RegExp(
  `^(?:tolower\\()?\\s*(${path})\\s*\\)?\\s*in~?\\s*\\(\\s*((?:${literal})(?:\\s*,\\s*(?:${literal}))*)\\s*\\)$`,
  'i',
);
const emptyTerm = new RegExp(`^(isnotempty|isempty|isnotnull|isnull)\\s*\\(\\s*(${path})\\s*\\)$`, 'i');

/**
 * Reads a query: `Resources | where type =~ 'x' and name contains 'y' | project name, id | order by name | limit 5`.
 * @returns the table, in lower case, and the operators after it
 * @throws RestError 400 for what is not supported
 */
export const graphQueryOf = (query: string): { readonly table: string; readonly run: Operator } => {
  const [first = '', ...rest] = partsOf(query.replaceAll(/\/\/[^\n]*/g, ' '), '|');
  const operators = rest.map(operatorOf);
  return {
    table: first.trim().toLowerCase(),
    run: (rows) => operators.reduce((left, operator) => operator(left), rows),
  };
};

const invalid = (what: string): RestError =>
  new RestError(
    400,
    'NotSupported',
    `The query is not supported: ${what}. Supported: where (==, !=, =~, !~, contains, has, startswith, endswith, in~, isnotempty, isempty; joined by "and"), project, project-away, extend with a path, order by, limit, take, count, distinct, and summarize count() by.`,
  );

/** Splits a text at a mark outside of quotes and brackets. */
const partsOf = (text: string, mark: string): readonly string[] => {
  const parts = [''];
  let quote = '';
  let depth = 0;
  for (const letter of text) {
    if (quote === '' && depth === 0 && letter === mark) {
      parts.push('');
      continue;
    }
    if (quote === '' && (letter === "'" || letter === '"')) quote = letter;
    else if (letter === quote) quote = '';
    if (quote === '' && (letter === '(' || letter === '[')) depth += 1;
    if (quote === '' && (letter === ')' || letter === ']')) depth -= 1;
    parts[parts.length - 1] += letter;
  }
  return parts.map((part) => part.trim()).filter((part) => part !== '');
};

const operatorOf = (text: string): Operator => {
  const [, name = '', rest = ''] = /^([\w-]+)\s*([\s\S]*)$/.exec(text) ?? [];
  switch (name.toLowerCase()) {
    case 'where': {
      const tests = rest.split(/\s+and\s+/i).map(testOf);
      return (rows) => rows.filter((row) => tests.every((test) => test(row)));
    }
    case 'project': {
      const columns = partsOf(rest, ',').map(columnOf);
      return (rows) => rows.map((row) => Object.fromEntries(columns.map(({ shown, of }) => [shown, of(row)])));
    }
    case 'extend': {
      const columns = partsOf(rest, ',').map(columnOf);
      return (rows) =>
        rows.map((row) => ({ ...row, ...Object.fromEntries(columns.map(({ shown, of }) => [shown, of(row)])) }));
    }
    case 'project-away': {
      const away = partsOf(rest, ',').map((one) => one.toLowerCase());
      return (rows) =>
        rows.map((row) =>
          Object.fromEntries(Object.entries(row).filter(([member]) => !away.includes(member.toLowerCase()))),
        );
    }
    case 'limit':
    case 'take':
      return (rows) => rows.slice(0, Number(rest) || 0);
    case 'order':
    case 'sort':
      return orderOf(rest);
    case 'count':
      return (rows) => [{ Count: rows.length }];
    case 'distinct':
      return countedBy(rest, false);
    case 'summarize':
      return summaryOf(rest);
    default:
      throw invalid(`the operator "${name.slice(0, 50)}" is unknown`);
  }
};

const read = (row: Row, wanted: string): unknown =>
  wanted
    .split(/\.|\['|'\]\.?/)
    .filter((name) => name !== '')
    .reduce<unknown>((part, name) => {
      const members = Object.entries(typeof part === 'object' && part !== null ? part : {});
      return members.find(([known]) => known.toLowerCase() === name.toLowerCase())?.[1];
    }, row);

const columnOf = (text: string): { readonly shown: string; readonly of: (row: Row) => unknown } => {
  const [, alias, wrapped, given] =
    new RegExp(`^(?:(\\w+)\\s*=\\s*)?(?:(tostring|tolower)\\()?(${path})\\)?$`, 'i').exec(text) ?? [];
  if (given === undefined) throw invalid(`the column "${text.slice(0, 100)}" must be a path`);
  const of = (row: Row): unknown => {
    const value = read(row, given) ?? null;
    return wrapped?.toLowerCase() === 'tolower' ? String(value).toLowerCase() : value;
  };
  return { shown: alias ?? given.replaceAll(/[.[\]']+/g, '_'), of };
};

const literalOf = (text: string): unknown => {
  if (/^['"]/.test(text)) return text.slice(1, -1);
  return /^(true|false)$/i.test(text) ? text.toLowerCase() === 'true' : Number(text);
};

const lower = (value: unknown): string => String(value ?? '').toLowerCase();

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

const testOf = (text: string): ((row: Row) => boolean) => {
  const [, wrapped, member, sign, wanted] = term.exec(text) ?? [];
  if (member !== undefined && sign !== undefined && wanted !== undefined) {
    const compare = comparisons[sign.toLowerCase()];
    const shown = (value: unknown): unknown => (wrapped?.toLowerCase() === 'tolower' ? lower(value) : value);
    return (row) => compare?.(shown(read(row, member)), literalOf(wanted)) === true;
  }
  const [, listed, list] = inTerm.exec(text) ?? [];
  if (listed !== undefined && list !== undefined) {
    const values = partsOf(list, ',').map((one) => lower(literalOf(one)));
    return (row) => values.includes(lower(read(row, listed)));
  }
  const [, check, checked] = emptyTerm.exec(text) ?? [];
  if (check === undefined || checked === undefined) throw invalid(`the condition "${text.slice(0, 100)}" is unknown`);
  const isWanted = check.toLowerCase().startsWith('isnot');
  return (row) => (lower(read(row, checked)) !== '') === isWanted;
};

const orderOf = (text: string): Operator => {
  const [, member, direction = ''] = new RegExp(`^by\\s+(${path})(?:\\s+(asc|desc))?$`, 'i').exec(text) ?? [];
  if (member === undefined) throw invalid(`"order ${text.slice(0, 50)}" must be: order by <column> [asc|desc]`);
  // Descending unless it says otherwise, as in the language.
  const sign = direction.toLowerCase() === 'asc' ? 1 : -1;
  return (rows) => rows.toSorted((a, b) => (lower(read(a, member)) < lower(read(b, member)) ? -sign : sign));
};

const summaryOf = (text: string): Operator => {
  const found = /^(?:(\w+)\s*=\s*)?count\(\)(?:\s+by\s+([\s\S]+))?$/i.exec(text);
  if (found === null) throw invalid(`"summarize ${text.slice(0, 50)}" must be count() by`);
  const [, name = 'count_', by] = found;
  return by === undefined ? (rows) => [{ [name]: rows.length }] : countedBy(by, name);
};

/** One row for each combination of values. @param counted column of the number of rows; false: none */
const countedBy = (text: string, counted: string | false): Operator => {
  const columns = partsOf(text, ',').map(columnOf);
  return (rows) => {
    const groups = new Map<string, { row: Row; count: number }>();
    for (const row of rows) {
      const values = Object.fromEntries(columns.map(({ shown, of }) => [shown, of(row)]));
      const group = groups.get(JSON.stringify(values)) ?? { row: values, count: 0 };
      group.count += 1;
      groups.set(JSON.stringify(values), group);
    }
    return [...groups.values()].map(({ row, count }) => (counted === false ? row : { ...row, [counted]: count }));
  };
};
