import type { DescField, DescMessage, JsonObject, JsonValue } from '@bufbuild/protobuf';
import { ScalarType } from '@bufbuild/protobuf';
import { type NameDefaults, shortName } from '../request/names.ts';
import { listOf } from '../request/pages.ts';
import { isObject } from '../request/schema.ts';
import { columns, firstFields, machineFields, type NarrowColumn, narrowColumns } from './columns.ts';

/** Width of a table where nothing says how wide the terminal is, in characters. */
export const WIDTH_DEFAULT = 80;

/**
 * An answer for people: a list as a table, a resource as names and values, without what is empty.
 * @param width how wide a table may be, in characters; Infinity: every column in full (`-o wide`)
 */
export function render(message: DescMessage, json: JsonObject, names: NameDefaults, width = WIDTH_DEFAULT): string {
  const list = listOf(message);
  if (list !== undefined) return table(list.message, arrayOf(json[list.jsonName]), names, width);
  if (message.fields.length === 0) return 'done';
  return block(message, json, names, { indent: '', width }).join('\n');
}

/**
 * Rows with columns as wide as they need to be; columns that are empty everywhere are left out. Where they are wider together than
 * they may be, those that can be shortened are, and then the last ones are left out: `…` in the title says so.
 */
export function table(
  message: DescMessage,
  rows: readonly JsonValue[],
  names: NameDefaults,
  width = WIDTH_DEFAULT,
): string {
  if (rows.length === 0) return 'none';
  const narrow = width === Number.POSITIVE_INFINITY ? undefined : narrowColumns[message.typeName];
  const all = narrow === undefined ? wideCells(message, rows, names) : narrowCells(narrow, rows, names, width);
  const cells = fitting(
    all.filter(({ texts }) => texts.some((text) => text !== '')),
    width,
  );
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

/** As many of the columns as fit, the first in any case; with one that says that others were left out. */
function fitting(cells: readonly Cells[], width: number): readonly Cells[] {
  if (totalWidth(cells.map(widthOf)) <= width) return cells;
  const kept = [...cells];
  while (kept.length > 1 && totalWidth([...kept.map(widthOf), MORE.title.length]) > width) kept.pop();
  return [...kept, MORE];
}

/** Stands for columns that were left out. */
const MORE: Cells = { title: '…', texts: [] };

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
  width: number,
): readonly Cells[] => {
  const whole = narrow.map(({ title, text, narrowest }) => ({
    title: title.toUpperCase(),
    texts: rows.map((row) => (isObject(row) ? text(row, (name) => shortName(name, names)) : '')),
    narrowest,
  }));
  const shown = whole.filter(({ texts }) => texts.some((text) => text !== ''));
  const widths = sharedWidths(shown, width);
  return shown.map(({ title, texts, narrowest }, column) => ({
    title,
    texts: narrowest === undefined ? texts : texts.map((text) => narrowest.cut(text, widths[column] ?? 0)),
  }));
};

/** What is too wide is taken from the widest column that may still give, so that those give most that have most. */
function sharedWidths(
  cells: readonly (Cells & { readonly narrowest: NarrowColumn['narrowest'] | undefined })[],
  width: number,
): readonly number[] {
  const widths = cells.map(widthOf);
  const roomOf = (column: number): number => {
    const { narrowest } = cells[column] ?? {};
    return narrowest === undefined ? 0 : (widths[column] ?? 0) - narrowest.width;
  };
  for (let over = totalWidth(widths) - width; over > 0; over -= 1) {
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
/** Of columns side by side. */
const totalWidth = (widths: readonly number[]): number =>
  widths.reduce((total, width) => total + width, 0) + GAP.length * Math.max(0, widths.length - 1);

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

/** What a resource is shown in: how far from the left, and how wide. */
interface Room {
  readonly indent: string;
  readonly width: number;
}

/** A table inside a resource, indented. */
const innerTable = (
  message: DescMessage,
  rows: readonly JsonValue[],
  names: NameDefaults,
  { indent, width }: Room,
): string[] => indented(table(message, rows, names, width - indent.length), indent);

function block(message: DescMessage, json: JsonObject, names: NameDefaults, room: Room): string[] {
  const { indent } = room;
  const inside = (by: string): Room => ({ ...room, indent: `${indent}${by}` });
  const fields = [...message.fields].sort((a, b) => rank(a) - rank(b));
  const shown = fields.filter(
    ({ name, jsonName }) => !machineFields.has(`${message.typeName}.${name}`) && !isEmpty(json[jsonName]),
  );
  const titleWidth = Math.max(0, ...shown.map(({ jsonName }) => wordsOf(jsonName).length));
  return shown.flatMap((field) => {
    const value = json[field.jsonName];
    const title = `${indent}${wordsOf(field.jsonName)}`;
    const inner = field.message;
    if (inner !== undefined && field.fieldKind === 'list') {
      const more = details(inner, value, names, room);
      // A table of names alone would say them twice.
      const isTold = more.length > 0 && columnsOf(inner).length === 1;
      return [title, ...(isTold ? [] : innerTable(inner, arrayOf(value), names, inside('  '))), ...more];
    }
    if (inner !== undefined && isObject(value) && field.fieldKind === 'message') {
      return [title, ...block(inner, value, names, inside('  '))];
    }
    return [`${title.padEnd(indent.length + titleWidth)}  ${plain(field, value)}`];
  });
}

/** What a table of an inner list cannot show: lists inside its rows. */
function details(message: DescMessage, value: JsonValue | undefined, names: NameDefaults, room: Room): string[] {
  const { indent } = room;
  const lists = message.fields.filter((field) => field.fieldKind === 'list' && field.listKind === 'message');
  return lists.flatMap(({ jsonName, message: inner }) =>
    arrayOf(value).flatMap((row) => {
      const rows = isObject(row) ? arrayOf(row[jsonName]) : [];
      if (inner === undefined || rows.length === 0 || !isObject(row)) return [];
      return [
        `${indent}  ${cell(row.name, names)}`,
        ...innerTable(inner, rows, names, { ...room, indent: `${indent}    ` }),
      ];
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
