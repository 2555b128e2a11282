import type { DescField, DescMessage, JsonObject, JsonValue } from '@bufbuild/protobuf';
import { ScalarType } from '@bufbuild/protobuf';
import { columns, firstFields, machineFields, NARROW_WIDTH, type NarrowColumn, narrowColumns } from './columns.ts';
import { type NameDefaults, shortName } from './names.ts';
import { isObject } from './schema.ts';

/**
 * An answer for people: a list as a table, a resource as names and values, without what is empty.
 * @param isWide whether a list has every column in full, also where that is wider than a terminal
 */
export function render(message: DescMessage, json: JsonObject, names: NameDefaults, isWide = false): string {
  const list = listOf(message);
  if (list !== undefined) return table(list.message, arrayOf(json[list.jsonName]), names, isWide);
  if (message.fields.length === 0) return 'done';
  return block(message, json, names, '').join('\n');
}

/** The field a list answer is about: the only list of messages in it, beside plain fields. */
export function listOf(message: DescMessage): (DescField & { readonly message: DescMessage }) | undefined {
  const [only, second] = message.fields.filter(({ message: inner }) => inner !== undefined);
  const isPage = message.name.endsWith('Response') || message.name === 'FactBatch';
  if (only?.fieldKind !== 'list' || only.listKind !== 'message' || second !== undefined || !isPage) return undefined;
  return only;
}

/** Rows with columns as wide as they need to be; columns that are empty everywhere are left out. */
export function table(message: DescMessage, rows: readonly JsonValue[], names: NameDefaults, isWide = false): string {
  if (rows.length === 0) return 'none';
  const narrow = isWide ? undefined : narrowColumns[message.typeName];
  const all = narrow === undefined ? wideCells(message, rows, names) : narrowCells(narrow, rows, names);
  const cells = all.filter(({ texts }) => texts.some((text) => text !== ''));
  const widths = cells.map(widthOf);
  const lines = [cells.map(({ title }) => title), ...rows.map((_, row) => cells.map(({ texts }) => texts[row] ?? ''))];
  return lines
    .map((line) =>
      line
        .map((text, column) => text.padEnd(widths[column] ?? 0))
        .join(GAP)
        .trimEnd(),
    )
    .join('\n');
}

/** Between two columns. */
const GAP = '  ';

/** A column with what is in it, row by row. */
interface Cells {
  readonly title: string;
  readonly texts: readonly string[];
}

const wideCells = (message: DescMessage, rows: readonly JsonValue[], names: NameDefaults): readonly Cells[] =>
  columnsOf(message).map((column) => {
    const at = column.indexOf(':');
    const [path = '', other] = (at < 0 ? column : column.slice(at + 1)).replace(/\?$/, '').split('!');
    const title = at < 0 ? wordsOf(path) : column.slice(0, at);
    const textOf = (row: JsonValue): string => {
      const value = valueAt(row, path.split('.'));
      if (column.endsWith('?')) return value === true ? 'yes' : '';
      // In short a scope is no scope any more: `local` is a tenant as well as a subscription.
      const known = path === 'scope' ? undefined : names;
      return other !== undefined && value === valueAt(row, other.split('.')) ? '' : cell(value, known);
    };
    return { title: title.toUpperCase(), texts: rows.map(textOf) };
  });

const narrowCells = (
  narrow: readonly NarrowColumn[],
  rows: readonly JsonValue[],
  names: NameDefaults,
): readonly Cells[] => {
  const whole = narrow.map(({ title, text, narrowest }) => ({
    title: title.toUpperCase(),
    texts: rows.map((row) => (isObject(row) ? text(row, (name) => shortName(name, names)) : '')),
    narrowest,
  }));
  const shown = whole.filter(({ texts }) => texts.some((text) => text !== ''));
  const widths = sharedWidths(shown);
  return shown.map(({ title, texts, narrowest }, column) => ({
    title,
    texts: narrowest === undefined ? texts : texts.map((text) => narrowest.cut(text, widths[column] ?? 0)),
  }));
};

/** What is too wide is taken from the widest column that may still give, so that those give most that have most. */
function sharedWidths(
  cells: readonly (Cells & { readonly narrowest: NarrowColumn['narrowest'] | undefined })[],
): readonly number[] {
  const widths = cells.map(widthOf);
  const roomOf = (column: number): number => {
    const { narrowest } = cells[column] ?? {};
    return narrowest === undefined ? 0 : (widths[column] ?? 0) - narrowest.width;
  };
  for (let over = sum(widths) + GAP.length * (widths.length - 1) - NARROW_WIDTH; over > 0; over -= 1) {
    const [giving] = widths
      .map((_, column) => column)
      .filter((column) => roomOf(column) > 0)
      .toSorted((a, b) => (widths[b] ?? 0) - (widths[a] ?? 0));
    if (giving === undefined) break;
    widths[giving] = (widths[giving] ?? 0) - 1;
  }
  return widths;
}

// Not as arguments of one call: a list may have more rows than a call takes.
const widthOf = ({ title, texts }: Cells): number =>
  texts.reduce((widest, { length }) => Math.max(widest, length), title.length);
const sum = (numbers: readonly number[]): number => numbers.reduce((total, number) => total + number, 0);

/** One line about a resource, for watches: its states and why. */
export function stateLine(json: JsonObject): string {
  const { provisioningState, powerState, stopReason, nextStartLosses, failure, keyAccess, rotation } = json;
  const [blocking] = arrayOf(nextStartLosses);
  const next = blocking === undefined ? '' : `next start fails ${factsOf(blocking, 'reason')}`;
  const words = [provisioningState, powerState, factsOf(stopReason, 'reason'), next, factsOf(failure, 'code')];
  const access = arrayOf(keyAccess).map((state) => factsOf(state, 'state'));
  const moved = isObject(rotation)
    ? [`rotation ${cell(rotation.state)} ${cell(rotation.doneCount)}/${cell(rotation.resourcesCount)}`]
    : [];
  return [...words, ...access, ...moved].filter((word) => typeof word === 'string' && word !== '').join('  ');
}

function factsOf(value: JsonValue | undefined, field: string): string {
  if (!isObject(value)) return '';
  return [value[field], value.reason, value.keyVersion, value.since]
    .map((one) => cell(one))
    .filter((text, index, all) => text !== '' && all.indexOf(text) === index)
    .join(' ');
}

function block(message: DescMessage, json: JsonObject, names: NameDefaults, indent: string): string[] {
  const fields = [...message.fields].sort((a, b) => rank(a) - rank(b));
  const shown = fields.filter(
    ({ name, jsonName }) => !machineFields.has(`${message.typeName}.${name}`) && !isEmpty(json[jsonName]),
  );
  const width = Math.max(0, ...shown.map(({ jsonName }) => wordsOf(jsonName).length));
  return shown.flatMap((field) => {
    const value = json[field.jsonName];
    const title = `${indent}${wordsOf(field.jsonName)}`;
    const inner = field.message;
    if (inner !== undefined && field.fieldKind === 'list') {
      const inside = details(inner, value, names, indent);
      // A table of names alone would say them twice.
      const isTold = inside.length > 0 && columnsOf(inner).length === 1;
      return [title, ...(isTold ? [] : indented(table(inner, arrayOf(value), names), `${indent}  `)), ...inside];
    }
    if (inner !== undefined && isObject(value) && field.fieldKind === 'message') {
      return [title, ...block(inner, value, names, `${indent}  `)];
    }
    return [`${title.padEnd(indent.length + width)}  ${plain(field, value)}`];
  });
}

/** What a table of an inner list cannot show: lists inside its rows. */
function details(message: DescMessage, value: JsonValue | undefined, names: NameDefaults, indent: string): string[] {
  const lists = message.fields.filter((field) => field.fieldKind === 'list' && field.listKind === 'message');
  return lists.flatMap(({ jsonName, message: inner }) =>
    arrayOf(value).flatMap((row) => {
      const rows = isObject(row) ? arrayOf(row[jsonName]) : [];
      if (inner === undefined || rows.length === 0 || !isObject(row)) return [];
      return [`${indent}  ${cell(row.name, names)}`, ...indented(table(inner, rows, names), `${indent}    `)];
    }),
  );
}

function columnsOf(message: DescMessage): readonly string[] {
  const known = columns[message.typeName];
  if (known !== undefined) return known;
  const isPlain = (field: DescField): boolean =>
    field.message === undefined || field.message.typeName === 'google.protobuf.Timestamp';
  return message.fields.filter(isPlain).map(({ jsonName }) => jsonName);
}

function valueAt(value: JsonValue | undefined, path: readonly string[]): JsonValue | undefined {
  const [step, ...rest] = path;
  if (step === undefined) return value;
  if (Array.isArray(value)) return valueAt(value[Number(step)], rest);
  return isObject(value) ? valueAt(value[step], rest) : undefined;
}

function plain(field: DescField, value: JsonValue | undefined): string {
  // In the form flags take, so that it can be pasted back.
  if (field.scalar === ScalarType.BYTES) return `base64:${cell(value)}`;
  if (isObject(value)) {
    return Object.entries(value)
      .map(([name, text]) => `${name}=${cell(text)}`)
      .join(' ');
  }
  return cell(value);
}

function cell(value: JsonValue | undefined, names?: NameDefaults): string {
  if (isEmpty(value) || value === undefined) return '';
  if (Array.isArray(value)) return value.map((one) => cell(one, names)).join(',');
  if (typeof value === 'object') return JSON.stringify(value);
  const text = String(value);
  return names === undefined ? text : shortName(text, names);
}

/** Stands for a number where something is above all numbers there are: the end of an identity has none of the vault. */
const ABOVE_ALL = String(Number.MAX_SAFE_INTEGER);

function isEmpty(value: JsonValue | undefined): boolean {
  if (value === undefined || value === null || value === '') return true;
  if (typeof value === 'string') return value.endsWith('_UNSPECIFIED') || value === ABOVE_ALL;
  return typeof value === 'object' && Object.keys(value).length === 0;
}

const arrayOf = (value: JsonValue | undefined): readonly JsonValue[] => (Array.isArray(value) ? value : []);

const indented = (text: string, indent: string): string[] => text.split('\n').map((line) => `${indent}${line}`);

const wordsOf = (name: string): string =>
  (name.split('.').at(-1) ?? name).replace(/[A-Z]/g, (letter) => ` ${letter.toLowerCase()}`);

function rank({ jsonName, number }: DescField): number {
  const place = firstFields.indexOf(jsonName);
  return place < 0 ? firstFields.length + number : place;
}
