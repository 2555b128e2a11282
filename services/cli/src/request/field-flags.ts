import { type DescField, type DescMessage, ScalarType } from '@bufbuild/protobuf';
import { UsageError } from '../problems.ts';
import type { Target, Verb } from '../verbs/verb.ts';
import { type DraftObject, put } from './draft.ts';
import { fieldValue, isFileField, type ValueContext } from './field-values.ts';
import { messageValue } from './message-text.ts';
import { choiceOf } from './similar.ts';

/** A flag that fills a field of the request. */
export interface FieldFlag {
  /** Without the hyphens in front: `size-gib`. */
  readonly name: string;
  readonly path: readonly DescField[];
  /** The field at the end of the path. */
  readonly field: DescField;
  /** May be given more than once. */
  readonly isRepeated: boolean;
  readonly isSwitch: boolean;
  /** Whether it is another name of an existing flag. */
  readonly isAlias: boolean;
  /** Whether its default is a new UUID. */
  readonly isFresh: boolean;
  /** Allowed values, where the type allows more. */
  readonly choices?: readonly string[];
}

/** Field names that need the name of their message. */
const vague: ReadonlySet<string> = new Set(['type', 'kind', 'name']);

/** The flags of a verb: one per field, then the aliases. Fields of targets have none. */
export function flagsOf(
  request: DescMessage,
  { targets = [], aliases = {}, choices = {}, defaults = {} }: Verb,
): readonly FieldFlag[] {
  const taken = new Set(targets.filter((target) => !isOptional(target)).flatMap(fieldsOf));
  const free = request.fields.filter(({ name }) => !taken.has(name));
  const own = new Set(free.map(({ name }) => name));
  const flags = free.flatMap((field) => {
    const inner = flatMessageOf(field);
    if (inner === undefined) return [flag(nameOf(field), [field])];
    return inner.fields.map((leaf) => {
      const name = own.has(leaf.name) || vague.has(leaf.name) ? `${field.name}_${leaf.name}` : leaf.name;
      return flag(nameOf(leaf, name), [field, leaf]);
    });
  });
  const more = Object.entries(aliases).map(([name, path]) => ({
    ...flag(name, pathIn(request, path.split('.'))),
    isAlias: true,
  }));
  return [...flags, ...more].map((one) => ({
    ...one,
    isFresh: one.path.length === 1 && defaults[one.field.name] === 'uuid',
    ...choicesFor(choices[one.field.name]),
  }));
}

/** Puts the typed value of a flag into the request. @throws UsageError */
export function putFlag(draft: DraftObject, flag: FieldFlag, text: string, context: ValueContext) {
  const { name, path, field, choices } = flag;
  const shown = `--${name}`;
  if (choices !== undefined) choiceOf(text.toLowerCase().replaceAll('_', '-'), choices, shown);
  if (field.fieldKind === 'map') {
    const at = text.indexOf('=');
    if (at < 1) throw new UsageError(`${shown} must look like name=value, not "${text}"`);
    const key = text.slice(0, at);
    putEntry(draft, path, key, text.slice(at + 1));
  } else if (field.fieldKind === 'list' && field.message !== undefined) {
    put(draft, path, messageValue(field.message, text, shown, context), true);
  } else if (field.fieldKind === 'list') {
    const texts = field.enum === undefined ? [text] : text.split(',').filter((one) => one !== '');
    for (const one of texts) put(draft, path, fieldValue(field, one, shown, context), true);
  } else if (field.message !== undefined && field.message.typeName !== 'google.protobuf.Timestamp') {
    put(draft, path, messageValue(field.message, text, shown, context));
  } else {
    put(draft, path, fieldValue(field, text, shown, context));
  }
}

const choicesFor = (choices: readonly string[] | undefined) => (choices === undefined ? {} : { choices });

/** The field of that name. @throws Error for a name the message does not have */
export function fieldOf(message: DescMessage, name: string): DescField {
  const field = message.fields.find((one) => one.name === name);
  if (field === undefined) throw new Error(`${message.typeName} has no field ${name}`);
  return field;
}

/** Whether a flag may replace the argument. */
export const isOptional = (target: Target): boolean => 'optional' in target && target.optional === true;

/** Names of the fields a target fills. */
export const fieldsOf = (target: Target): readonly string[] => {
  if ('oneOf' in target) return target.oneOf.map(({ field }) => field);
  return 'parent' in target ? [target.parent, target.idField] : [target.field];
};

function flag(name: string, path: readonly DescField[]): FieldFlag {
  const field = path.at(-1);
  if (field === undefined) throw new Error(`the flag --${name} leads to no field`);
  return {
    name,
    path,
    field,
    isRepeated: field.fieldKind === 'list' || field.fieldKind === 'map',
    isSwitch: field.fieldKind === 'scalar' && field.scalar === ScalarType.BOOL,
    isAlias: false,
    isFresh: false,
  };
}

function nameOf(field: DescField, name: string = field.name): string {
  const base = field.name === 'jwk_json' ? 'jwk' : name.replaceAll('_', '-');
  return isFileField(field) ? `${base}-file` : base;
}

/** A message without inner messages: its fields become flags. */
function flatMessageOf(field: DescField): DescMessage | undefined {
  if (field.fieldKind !== 'message' || field.message.typeName === 'google.protobuf.Timestamp') return undefined;
  const isFlat = field.message.fields.every(
    (one) =>
      one.fieldKind !== 'map' &&
      (one.message === undefined || one.message.typeName === 'google.protobuf.Timestamp') &&
      one.oneof === undefined,
  );
  return isFlat ? field.message : undefined;
}

function pathIn(message: DescMessage, names: readonly string[]): readonly DescField[] {
  const [name = '', ...rest] = names;
  const field = fieldOf(message, name);
  if (rest.length === 0) return [field];
  if (field.message === undefined) throw new Error(`${field.name} of ${message.typeName} is no message`);
  return [field, ...pathIn(field.message, rest)];
}

function putEntry(draft: DraftObject, path: readonly DescField[], key: string, value: string): void {
  const [field] = path;
  if (field === undefined) return;
  const before = draft[field.jsonName] ?? draft[field.name] ?? {};
  if (typeof before !== 'object' || before === null || Array.isArray(before)) {
    throw new UsageError(`${field.name} must be an object in JSON`);
  }
  put(draft, path, { ...before, [key]: value });
}
