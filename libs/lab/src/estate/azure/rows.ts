import type { Problem } from '../../experiment.ts';

/** A row that a command of Azure printed: `properties` flattened, names of fields in lower case. */
export type Row = Readonly<Record<string, unknown>>;

/** Kinds of resources that make a twin. */
export type RowKind = 'machine' | 'disk' | 'set' | 'vault' | 'key';

/** Rows of all files by kind; a resource that occurs twice counts once, with the fields of both rows. */
export interface Rows {
  readonly of: Readonly<Record<RowKind, readonly Row[]>>;
  /** Rows of other kinds, for the list of what is not mapped. */
  readonly others: readonly { readonly name: string; readonly type: string }[];
}

export interface AzureFile {
  readonly name: string;
  readonly text: string;
}

/** A problem of one of several files. */
export interface FileProblem extends Problem {
  readonly file: string;
}

const expected =
  'Expected is what az vm list -d, az disk list, az disk-encryption-set list, az keyvault show, az keyvault key list or az keyvault key list-versions print with -o json, or rows of az graph query.';

const empty =
  'Check the subscription (az account show) and the rights of your account. If there are none of these resources, leave the file out.';

/** Reads files in any order. @returns their rows, or all problems */
export function rowsOf(files: readonly AzureFile[]): Rows | { readonly problems: readonly FileProblem[] } {
  const problems: FileProblem[] = [];
  const of: Record<RowKind, Row[]> = { machine: [], disk: [], set: [], vault: [], key: [] };
  const others = new Map<string, { readonly name: string; readonly type: string }>();
  const addOther = (row: Row): unknown =>
    others.set(textOf(row.id).toLowerCase() || `${others.size}`, { name: nameOf(row), type: typeOf(row) });
  const known = new Map<string, { readonly list: Row[]; readonly index: number }>();
  const add = (row: Row, list: Row[]): void => {
    const id = (textOf(row.id) || kidOf(row)).toLowerCase();
    const before = known.get(id);
    // A row of `az keyvault list` has fewer fields than that of `az keyvault show`.
    if (before !== undefined) before.list[before.index] = { ...row, ...before.list[before.index] };
    else {
      if (id !== '') known.set(id, { list, index: list.length });
      list.push(row);
    }
  };
  for (const { name: file, text } of files) {
    const read = listIn(text);
    if ('problem' in read) {
      problems.push({ file, cure: expected, ...read.problem });
      continue;
    }
    for (const [index, value] of read.list.entries()) {
      const row = isObject(value) ? flat(value) : undefined;
      const kind = row === undefined ? undefined : kindOf(row);
      if (row !== undefined && kind !== undefined) add(row, of[kind]);
      else if (row !== undefined && typeOf(row) !== '') addOther(row);
      else problems.push({ file, line: 1, message: unknownRow(value, index), cure: expected });
    }
  }
  return problems.length > 0 ? { problems } : { of, others: [...others.values()] };
}

function unknownRow(value: unknown, index: number): string {
  if (!isObject(value)) return `row ${index + 1} is ${kindOfValue(value)}, not an object`;
  const name = nameOf(flat(value));
  return `row ${index + 1}${name === '' ? '' : ` ("${name}")`} is no machine, disk, disk encryption set, vault or key`;
}

type Read =
  | { readonly list: readonly unknown[] }
  | { readonly problem: Pick<Problem, 'line' | 'message'> & { readonly cure?: string } };

function listIn(text: string): Read {
  const read = anyListIn(text);
  if ('problem' in read || read.list.length > 0) return read;
  return { problem: { line: 1, message: 'the list is empty', cure: empty } };
}

function anyListIn(text: string): Read {
  let json: unknown;
  try {
    json = JSON.parse(text);
  } catch (error) {
    return { problem: syntaxProblem(text, error) };
  }
  if (Array.isArray(json)) return { list: json };
  if (!isObject(json)) return { problem: { line: 1, message: `the file is ${kindOfValue(json)}, not a list` } };
  const { data, value } = json;
  if (Array.isArray(data)) return { list: data };
  if (Array.isArray(value)) return { list: value };
  if (isObject(data) && Array.isArray(data.columns) && Array.isArray(data.rows)) return { list: tableRows(data) };
  if (typeof json.id === 'string' || kidOf(flat(json)) !== '') return { list: [json] };
  return { problem: { line: 1, message: `the file is an object with ${fieldsText(json)}, not a list` } };
}

/** Rows of the table form of a Resource Graph answer. */
function tableRows({ columns, rows }: Row): readonly unknown[] {
  const names = (columns as readonly unknown[]).map((column) => (isObject(column) ? textOf(column.name) : ''));
  return (rows as readonly unknown[]).map((row) =>
    Array.isArray(row) ? Object.fromEntries(row.map((cell, index) => [names[index] ?? '', cell])) : row,
  );
}

/** V8 reports where it stopped: by line and column, by position, or at the end of the text. */
function syntaxProblem(text: string, error: unknown): Pick<Problem, 'line' | 'message'> {
  const said = error instanceof Error ? error.message : String(error);
  if (text.trim() === '') return { line: 1, message: 'the file is empty' };
  const [, line] = /\(line (\d+) column \d+\)/.exec(said) ?? [];
  const lines = text.trimEnd().split('\n').length;
  return { line: line === undefined ? lines : Number(line), message: `the JSON is not valid: ${said}` };
}

const kindsByType: Readonly<Record<string, RowKind>> = {
  'microsoft.compute/virtualmachines': 'machine',
  'microsoft.compute/disks': 'disk',
  'microsoft.compute/diskencryptionsets': 'set',
  'microsoft.keyvault/vaults': 'vault',
};

function kindOf(row: Row): RowKind | undefined {
  const type = typeOf(row).toLowerCase();
  if (type !== '') return kindsByType[type];
  if (kidOf(row) !== '') return 'key';
  if (isObject(row.storageprofile)) return 'machine';
  if (isObject(row.activekey)) return 'set';
  if (isObject(row.creationdata) || row.disksizegb !== undefined) return 'disk';
  return row.vaulturi === undefined ? undefined : 'vault';
}

/** Type of the resource, from the row or its id. */
function typeOf({ type, id }: Row): string {
  if (typeof type === 'string' && type !== '') return type;
  const [, provider, ...words] = /\/providers\/([^/]+)\/(.+)$/i.exec(textOf(id))?.[0].split('/').slice(1) ?? [];
  const types = words.filter((_, index) => index % 2 === 0);
  return provider === undefined ? '' : [provider, ...types].join('/');
}

/** URL of a key: in a list beside the other fields, in `az keyvault key show` in `key`. */
export const kidOf = (row: Row): string => textOf(row.kid) || textOf(objectIn(row, 'key').kid);

/** Name of the resource, from the row or its id. */
export const nameOf = ({ name, id }: Row): string => textOf(name) || (textOf(id).split('/').at(-1) ?? '');

/** Field names in lower case at every depth, and the fields of `properties` beside the others. JSON null counts as absent. */
function flat(value: Readonly<Record<string, unknown>>): Row {
  const lowered = lower(value) as Record<string, unknown>;
  const { properties, ...rest } = lowered;
  return isObject(properties) ? { ...properties, ...rest } : lowered;
}

function lower(value: unknown): unknown {
  if (Array.isArray(value)) return value.map(lower);
  if (!isObject(value)) return value;
  const fields = Object.entries(value).filter(([, field]) => field !== null);
  return Object.fromEntries(fields.map(([name, field]) => [name.toLowerCase(), lower(field)]));
}

export const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

/** A text; empty for anything else. */
export const textOf = (value: unknown): string => (typeof value === 'string' ? value : '');

/** The object in a field; empty if it is missing. */
export const objectIn = (row: Row, field: string): Row => {
  const value = row[field];
  return isObject(value) ? value : {};
};

/** The objects in a list field. */
export const objectsIn = (row: Row, field: string): readonly Row[] => {
  const value = row[field];
  return Array.isArray(value) ? value.filter(isObject) : [];
};

const kindOfValue = (value: unknown): string =>
  value === null ? 'null' : Array.isArray(value) ? 'a list' : `a ${typeof value}`;

const fieldsText = (json: Row): string => {
  const names = Object.keys(json);
  return names.length === 0 ? 'no fields' : `the fields ${names.slice(0, 5).join(', ')}`;
};
