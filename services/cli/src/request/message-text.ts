import type { DescField, DescMessage, DescOneof } from '@bufbuild/protobuf';
import { nearest } from '@interlock/runtime/nearest';
import { UsageError } from '../problems.ts';
import { type DraftObject, put } from './draft.ts';
import { fieldValue, type ValueContext } from './field-values.ts';
import { isObject } from './schema.ts';

/** Short words for fields of nested messages. */
const shortWords: Readonly<Record<string, string>> = { set: 'disk_encryption_set', size: 'size_gib' };

/**
 * A message as one text: `lun=1,sku=ultra,size=4,set=des1,delete-with-vm`. A field of an inner message is named alone if that is
 * unambiguous, else with dots. A first word without `=` is the first field. JSON and `@file` with JSON are allowed too.
 * @throws UsageError
 */
export function messageValue(message: DescMessage, text: string, flag: string, context: ValueContext): DraftObject {
  if (text.startsWith('{') || text.startsWith('@')) return jsonText(text, flag, context);
  const draft: DraftObject = {};
  const typed = new Map<DescOneof, TypedField>();
  for (const [index, part] of text.split(',').entries()) {
    const [word, value] = halves(part);
    if (word === '') throw new UsageError(`${flag} "${text}" has an empty part`);
    if (value !== undefined) {
      const path = pathOf(message, word, flag);
      refuseOther(typed, path, word, flag);
      put(draft, path, leafValue(path, value, `${flag} ${word}`, context));
      continue;
    }
    const [first] = message.fields;
    const isFirst = index === 0 && first !== undefined && !leaves(message).some((path) => isNamed(path, word));
    const path = isFirst ? [first] : pathOf(message, word, flag);
    refuseOther(typed, path, isFirst ? nameOf(first) : word, flag);
    put(draft, path, leafValue(path, isFirst ? word : 'true', `${flag} ${word}`, context));
  }
  return draft;
}

/** JSON of an object, typed or in a file. @throws UsageError */
export function jsonText(text: string, flag: string, { readFile }: Pick<ValueContext, 'readFile'>): DraftObject {
  const isFile = text === '-' || text.startsWith('@');
  const content = isFile ? Buffer.from(readFile(text.replace(/^@/, ''))).toString('utf8') : text;
  let json: unknown;
  try {
    json = JSON.parse(content);
  } catch (error) {
    throw new UsageError(`${flag} is not JSON: ${error instanceof Error ? error.message : String(error)}`, {
      cause: error,
    });
  }
  if (isObject(json)) return json;
  throw new UsageError(`${flag} must be an object in JSON`);
}

/** The paths to all fields that are no messages. */
export function leaves(message: DescMessage): readonly (readonly DescField[])[] {
  return message.fields.flatMap((field) => {
    const inner = field.fieldKind === 'message' ? field.message : undefined;
    if (inner === undefined || inner.typeName === 'google.protobuf.Timestamp') return [[field]];
    return leaves(inner).map((path) => [field, ...path]);
  });
}

/** The typed field of a oneof. */
interface TypedField {
  readonly field: DescField;
  readonly word: string;
}

/** @throws UsageError for a second field of a oneof */
function refuseOther(typed: Map<DescOneof, TypedField>, path: readonly DescField[], word: string, flag: string): void {
  const [field] = path;
  if (field?.oneof === undefined) return;
  const before = typed.get(field.oneof);
  typed.set(field.oneof, { field, word });
  if (before === undefined || before.field === field) return;
  const ways = [before.field, field].map((one) => wordsOf(one).join(', '));
  throw new UsageError(`${flag}: ${before.word} and ${word} exclude each other: write ${ways.join(', or ')}`);
}

const nameOf = (field: DescField): string => field.name.replaceAll('_', '-');
/** The names that set a field. */
const wordsOf = (field: DescField): readonly string[] =>
  field.fieldKind === 'message' ? leaves(field.message).map((path) => nameOf(path.at(-1) ?? field)) : [nameOf(field)];

function pathOf(message: DescMessage, word: string, flag: string): readonly DescField[] {
  const all = leaves(message);
  const found = all.filter((path) => isNamed(path, word));
  const shallowest = Math.min(...found.map(({ length }) => length));
  const [path, second] = found.filter(({ length }) => length === shallowest);
  if (path !== undefined && second === undefined) return path;
  const names = all.flatMap((one) => one.at(-1) ?? []).map(nameOf);
  const near = nearest(word, names);
  if (second !== undefined) {
    const ways = found.map((one) => one.map(({ name }) => name.replaceAll('_', '-')).join('.'));
    throw new UsageError(`${flag}: ${word} may be ${ways.join(' or ')}: write which`);
  }
  throw new UsageError(
    `${flag} has no field ${word}: write ${names.join(', ')}.${near === undefined ? '' : ` Did you mean ${near}?`}`,
  );
}

function isNamed(path: readonly DescField[], word: string): boolean {
  const snake = word.replaceAll('-', '_');
  const wanted = shortWords[snake] ?? snake;
  return path.at(-1)?.name === wanted || path.map(({ name }) => name).join('.') === wanted;
}

function leafValue(path: readonly DescField[], text: string, flag: string, context: ValueContext) {
  const field = path.at(-1);
  if (field === undefined) throw new UsageError(`${flag} names nothing`);
  if (field.fieldKind !== 'list') return fieldValue(field, text, flag, context);
  return text.split('+').map((one) => fieldValue(field, one, flag, context));
}

function halves(part: string): readonly [string, string | undefined] {
  const at = part.indexOf('=');
  return at < 0 ? [part.trim(), undefined] : [part.slice(0, at).trim(), part.slice(at + 1)];
}
