import type { DescField, DescMessage, JsonObject, JsonValue } from '@bufbuild/protobuf';
import { ScalarType } from '@bufbuild/protobuf';
import { FINAL_EPOCH } from '@interlock/access/order';
import { type NameDefaults, shortName } from '../request/names.ts';
import { listOf } from '../request/pages.ts';
import { isObject } from '../request/schema.ts';
import { aligned, GAP, padded, widthOf } from './align.ts';
import {
  anyNarrowest,
  arrangements,
  columns,
  firstFields,
  machineFields,
  type NarrowColumn,
  narrowColumns,
} from './columns.ts';

/** Width of a table without a terminal, in characters. */
export const WIDTH_DEFAULT = 80;

/**
 * A response for people: a list as a table, a resource as names and values. Empty fields are omitted.
 * @param width how wide a table may be, in characters; Infinity: every column in full (`-o wide`)
 */
export function render(message: DescMessage, json: JsonObject, names: NameDefaults, width = WIDTH_DEFAULT): string {
  const list = listOf(message);
  if (list !== undefined) return table(list.message, arrayOf(json[list.jsonName]), names, width);
  if (message.fields.length === 0) return 'done';
  return block(message, json, names, { indent: '', width }).join('\n');
}

/**
 * A table without empty columns. To fit the width, columns that allow it are shortened, then the last columns are omitted: the
 * title then ends with `…`.
 */
export function table(
  message: DescMessage,
  rows: readonly JsonValue[],
  names: NameDefaults,
  width = WIDTH_DEFAULT,
): string {
  if (rows.length === 0) return 'none';
  const isWide = width === Number.POSITIVE_INFINITY;
  const narrow = isWide ? undefined : narrowColumns[message.typeName];
  const arranged = (isWide ? undefined : arrangements[message.typeName])?.(rows, (name) => shortName(name, names));
  const all = narrow === undefined ? wideCells(message, rows, names) : narrowCells(narrow, arranged ?? rows, names);
  const shown = all.filter(({ texts }) => texts.some((text) => text !== ''));
  const cells = fitting(isWide ? shown : shortened(shown, width), width);
  return aligned([
    cells.map(({ title }) => title),
    ...(arranged ?? rows).map((_, row) => cells.map(({ texts }) => texts[row] ?? '')),
  ]);
}

/** The columns that fit, at least the first, and a mark if others are omitted. */
function fitting(cells: readonly Cells[], width: number): readonly Cells[] {
  if (totalWidth(cells.map(columnWidth)) <= width) return cells;
  const kept = [...cells];
  while (kept.length > 1 && totalWidth([...kept.map(columnWidth), MORE.title.length]) > width) kept.pop();
  return [...kept, MORE];
}

/** Marks omitted columns. */
const MORE: Cells = { title: '…', texts: [] };

/** A column: its title, and a text per row. */
interface Cells {
  readonly title: string;
  readonly texts: readonly string[];
  /** The minimum width, and how a text is shortened; undefined: never. */
  readonly narrowest?: NarrowColumn['narrowest'] | undefined;
}

const wideCells = (message: DescMessage, rows: readonly JsonValue[], names: NameDefaults): readonly Cells[] =>
  columnsOf(message).map((column) => {
    const at = column.indexOf(':');
    const [path = '', other] = (at < 0 ? column : column.slice(at + 1)).replace(/\?$/, '').split('!');
    const title = at < 0 ? wordsOf(path) : column.slice(0, at);
    const textOf = (row: JsonValue): string => {
      const value = valueAt(row, path.split('.'));
      if (column.endsWith('?')) return value === true ? 'yes' : '';
      // A scope stays in full: `local` names a tenant and a subscription.
      const known = path === 'scope' ? undefined : names;
      return other !== undefined && value === valueAt(row, other.split('.')) ? '' : cell(value, known);
    };
    return { title: title.toUpperCase(), texts: rows.map(textOf), narrowest: anyNarrowest };
  });

const narrowCells = (
  narrow: readonly NarrowColumn[],
  rows: readonly JsonValue[],
  names: NameDefaults,
): readonly Cells[] =>
  narrow.map(({ title, text, narrowest }) => ({
    title: title.toUpperCase(),
    texts: rows.map((row) => (isObject(row) ? text(row, (name) => shortName(name, names)) : '')),
    narrowest,
  }));

/** Shortens the widest column that may be shortened, until the table fits or none is left. */
function shortened(cells: readonly Cells[], width: number): readonly Cells[] {
  const widths = cells.map(columnWidth);
  const roomOf = (column: number): number => (widths[column] ?? 0) - (cells[column]?.narrowest?.width ?? Infinity);
  for (let over = totalWidth(widths) - width; over > 0; over -= 1) {
    const [giving] = widths
      .map((_, column) => column)
      .filter((column) => roomOf(column) > 0)
      .toSorted((a, b) => (widths[b] ?? 0) - (widths[a] ?? 0));
    if (giving === undefined) break;
    widths[giving] = (widths[giving] ?? 0) - 1;
  }
  return cells.map((cell, column) => {
    const { [column]: width = 0 } = widths;
    const { narrowest, texts } = cell;
    return narrowest === undefined || width >= columnWidth(cell)
      ? cell
      : { ...cell, texts: texts.map((text) => narrowest.cut(text, width)) };
  });
}

// Not Math.max(...): a list may have more rows than a call takes arguments.
const columnWidth = ({ title, texts }: Cells): number =>
  texts.reduce((widest, text) => Math.max(widest, widthOf(text)), widthOf(title));
/** Width of a line of these columns. */
const totalWidth = (widths: readonly number[]): number =>
  widths.reduce((total, width) => total + width, 0) + GAP.length * Math.max(0, widths.length - 1);

/** The states of a resource and their reasons in one line, for watches. */
export function stateLine(json: JsonObject): string {
  const { provisioningState, powerState, stopReason, nextStartLosses, failure, keyAccess, rotation } = json;
  const [blocking] = arrayOf(nextStartLosses);
  const next = blocking === undefined ? '' : `next start fails ${factsOf(blocking, 'reason')}`;
  const states = [provisioningState, powerState, factsOf(stopReason, 'reason'), next, factsOf(failure, 'code')];
  const access = arrayOf(keyAccess).map((state) => factsOf(state, 'state'));
  const moved = isObject(rotation)
    ? [`rotation ${cell(rotation.state)} ${cell(rotation.doneCount)}/${cell(rotation.resourcesCount)}`]
    : [];
  return [...states, ...access, ...moved].filter((text) => typeof text === 'string' && text !== '').join('  ');
}

function factsOf(value: JsonValue | undefined, field: string): string {
  if (!isObject(value)) return '';
  return [value[field], value.reason, value.keyVersion, value.since]
    .map((one) => cell(one))
    .filter((text, index, all) => text !== '' && all.indexOf(text) === index)
    .join(' ');
}

/** Where a resource is shown. */
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
      // The details name the rows already.
      const isNamed = more.length > 0 && columnsOf(inner).length === 1;
      return [title, ...(isNamed ? [] : innerTable(inner, arrayOf(value), names, inside('  '))), ...more];
    }
    if (inner !== undefined && isObject(value) && field.fieldKind === 'message') {
      return [title, ...block(inner, value, names, inside('  '))];
    }
    return [`${padded(title, indent.length + titleWidth)}  ${plain(field, value)}`];
  });
}

/** Lists inside the rows of an inner list. */
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
  // In the form that flags take.
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

/** The vault position of an event that no vault caused, such as a deleted identity. */
const ABOVE_ALL = String(FINAL_EPOCH);

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
