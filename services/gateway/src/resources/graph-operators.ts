import type { Work } from '../text/work.ts';

/** A row of a query: a resource as the resource graph shows it, or what an operator made of it. */
export type Row = Readonly<Record<string, unknown>>;

/** What an operator makes of rows. */
export type Operator = (rows: readonly Row[], work: Work) => Promise<readonly Row[]>;

/** The names on the way to a value: `properties.encryption.type`. */
export type Path = readonly string[];

/** A column: its name, and its value in a row. */
export interface Column {
  readonly shown: string;
  readonly path: Path;
  readonly isLower: boolean;
}

/** Whether a row is kept. */
export interface Condition {
  readonly path: Path;
  readonly fits: (value: unknown) => boolean;
}

/** Steps of reading a name of a path. */
const stepsOfRead = 10;

/** The value at a path, whatever the case of its names; undefined if it is missing. */
const read = (row: Row, path: Path, work: Work): unknown => {
  work.spend(stepsOfRead * path.length);
  return path.reduce<unknown>((part, name) => {
    if (typeof part !== 'object' || part === null) return undefined;
    if (Object.hasOwn(part, name)) return (part as Row)[name];
    const wanted = name.toLowerCase();
    return Object.entries(part).find(([known]) => known.toLowerCase() === wanted)?.[1];
  }, row);
};

/** A value as comparisons without case see it. */
export const lower = (value: unknown): string =>
  (typeof value === 'object' && value !== null ? JSON.stringify(value) : String(value ?? '')).toLowerCase();

const valueIn = ({ path, isLower }: Column, row: Row, work: Work): unknown => {
  const value = read(row, path, work) ?? null;
  return isLower ? lower(value) : value;
};

const valuesOf = (columns: readonly Column[], row: Row, work: Work): Row =>
  Object.fromEntries(columns.map((column) => [column.shown, valueIn(column, row, work)]));

/** Makes something of each row; other requests get a turn between rows. */
const eachRow =
  (make: (row: Row, work: Work) => readonly Row[]): Operator =>
  async (rows, work) => {
    const made: Row[] = [];
    for (const row of rows) {
      await work.yieldIfDue();
      made.push(...make(row, work));
    }
    return made;
  };

/** Keeps rows that fit all conditions. */
export const where = (conditions: readonly Condition[]): Operator =>
  eachRow((row, work) => (conditions.every(({ path, fits }) => fits(read(row, path, work))) ? [row] : []));

/** Keeps only columns. */
export const project = (columns: readonly Column[]): Operator => eachRow((row, work) => [valuesOf(columns, row, work)]);

/** Adds columns. */
export const extend = (columns: readonly Column[]): Operator =>
  eachRow((row, work) => [{ ...row, ...valuesOf(columns, row, work) }]);

/** Removes columns. @param away in lower case */
export const projectAway = (away: ReadonlySet<string>): Operator =>
  eachRow((row) => [Object.fromEntries(Object.entries(row).filter(([member]) => !away.has(member.toLowerCase())))]);

/** Sorts by one column. */
export const orderBy =
  (path: Path, isAscending: boolean): Operator =>
  async (rows, work) => {
    const sign = isAscending ? 1 : -1;
    const keyed = rows.map((row) => ({ row, key: lower(read(row, path, work)) }));
    await work.yieldIfDue();
    return keyed.toSorted((a, b) => (a.key === b.key ? 0 : a.key < b.key ? -sign : sign)).map(({ row }) => row);
  };

/** One row for each combination of values. @param counted column of the number of rows; undefined: none */
export const countedBy =
  (columns: readonly Column[], counted: string | undefined): Operator =>
  async (rows, work) => {
    const groups = new Map<string, { readonly row: Row; count: number }>();
    for (const row of rows) {
      await work.yieldIfDue();
      const values = valuesOf(columns, row, work);
      work.spend(work.sizeOf(values));
      const key = JSON.stringify(values);
      const group = groups.get(key) ?? { row: values, count: 0 };
      group.count += 1;
      groups.set(key, group);
    }
    return [...groups.values()].map(({ row, count }) => (counted === undefined ? row : { ...row, [counted]: count }));
  };
