import { Ajv2020, type ErrorObject, type ValidateFunction } from 'ajv/dist/2020.js';
import schema from '../../experiment.schema.json' with { type: 'json' };
import { actionNames } from '../timeline/actions.ts';
import type { Document, Path } from './document.ts';
import { cureOfName, type Problems, pathText, valueText } from './problems.ts';

/** A step as it is written: `at`, options, and one action with its target. */
export type RawStep = Readonly<Record<string, string | number | boolean | readonly string[] | undefined>>;

export type RawDisk = string | Readonly<Record<string, string>>;

export interface RawGroup {
  readonly machines: number;
  readonly disks: readonly RawDisk[];
  readonly key?: string;
  readonly role?: 'treatment' | 'control';
}

export type RawSteady =
  | { readonly services: 'ready' }
  | { readonly leases: 'held' }
  | { readonly io: string; readonly gap?: string };

export interface RawProof {
  readonly of: string;
  readonly see: 'unwrap-refused' | 'io-refused' | 'machine-stopped' | 'start-refused' | 'process-gone' | 'calls-fail';
  readonly within: string;
}

export type RawCondition = string | Readonly<Record<string, string>>;

/** A file that fits the schema, with synonyms replaced by the names used here. */
export interface RawFile {
  readonly title: string;
  readonly description?: string;
  readonly seed?: number;
  readonly settings?: Readonly<Record<string, string | number | boolean>>;
  readonly estate: Readonly<Record<string, RawGroup>> | { readonly existing: { readonly group: string } };
  readonly steady?: readonly RawSteady[];
  readonly timeline?: readonly RawStep[];
  readonly rollback?: readonly RawStep[];
  readonly proof?: readonly RawProof[];
  readonly abort?: readonly RawCondition[];
  readonly expect?: readonly RawCondition[];
}

export type Section = keyof RawFile;

/** Words of chaos engineers for sections of the file. */
export const synonyms: Readonly<Record<string, Section>> = {
  configuration: 'settings',
  'steady-state': 'steady',
  'steady-state-hypothesis': 'steady',
  method: 'timeline',
  rollbacks: 'rollback',
  proofs: 'proof',
  'stop-conditions': 'abort',
  tolerance: 'expect',
};

/** Names of all sections, with their synonyms. */
export const sectionNames: readonly string[] = Object.keys(schema.properties);

/** A file of the right shape. `place`: a path in it by the names of `RawFile`, as the path in the text. */
export interface Shaped {
  readonly raw: RawFile;
  place(section: Section, ...rest: Path): Path;
}

/**
 * Checks the document against the schema.
 * @returns undefined after problems were added
 */
export function shapeOf(document: Document, problems: Problems): Shaped | undefined {
  const { data } = document;
  if (!isObject(data)) {
    problems.add(
      [],
      `the file is ${Array.isArray(data) ? 'a list' : 'a text'}, not a map`,
      'Start with title: and estate:.',
    );
    return undefined;
  }
  const validate = validator();
  if (!validate(data)) for (const error of relevant(validate.errors ?? [])) report(error, data, problems);
  const written = new Map<string, string>();
  for (const name of Object.keys(data)) {
    const section = synonyms[name] ?? name;
    const earlier = written.get(section);
    if (earlier !== undefined)
      problems.add([name], `${name} is another word for ${earlier}, and the file has both`, `Write one ${section}.`);
    written.set(section, name);
  }
  if (!written.has('timeline')) problems.add([], 'timeline is missing', 'Add timeline: with at least one step.');
  if (problems.found.length > 0) return undefined;
  const raw = Object.fromEntries([...written].map(([section, name]) => [section, data[name]])) as unknown as RawFile;
  return { raw, place: (section, ...rest) => [written.get(section) ?? section, ...rest] };
}

const isObject = (value: unknown): value is Readonly<Record<string, unknown>> =>
  typeof value === 'object' && value !== null && !Array.isArray(value);

let compiled: ValidateFunction | undefined;

/** Compiled at the first file: a command that reads none does not wait for it. */
const validator = (): ValidateFunction => {
  compiled ??= new Ajv2020({ allErrors: true, verbose: true, allowUnionTypes: true, strictRequired: false }).compile(
    schema,
  );
  return compiled;
};

/** Without errors that only say why one branch of an `anyOf` or `oneOf` does not fit. */
function relevant(errors: readonly ErrorObject[]): readonly ErrorObject[] {
  const unions = errors.filter(({ keyword }) => keyword === 'anyOf' || keyword === 'oneOf');
  return errors.filter((error) => {
    if (error.keyword === 'propertyNames') return false;
    return !unions.some((union) => {
      if (union === error) return false;
      if (union.keyword === 'anyOf') return error.instancePath.startsWith(union.instancePath);
      return error.instancePath === union.instancePath && error.schemaPath.includes('/oneOf/');
    });
  });
}

const pathOf = (instancePath: string, data: unknown): Path => {
  let value = data;
  return instancePath
    .split('/')
    .slice(1)
    .map((part) => {
      const name = part.replaceAll('~1', '/').replaceAll('~0', '~');
      const step = Array.isArray(value) ? Number(name) : name;
      value = Object(value)[step];
      return step;
    });
};

/** Adds the problem of one schema error in words. */
function report(error: ErrorObject, data: unknown, problems: Problems): void {
  const path = pathOf(error.instancePath, data);
  const where = path.length === 0 ? 'the file' : pathText(path);
  const parent = error.parentSchema ?? {};
  const add = (message: string, cure: string, at: Path = path): void => problems.add(at, message, cure);
  if (error.keyword === 'additionalProperties') {
    const name: string = error.params.additionalProperty;
    add(`${where} has an unknown field "${name}"`, cureOfName(name, Object.keys(parent.properties ?? {})), [
      ...path,
      name,
    ]);
  } else if (error.keyword === 'required') {
    const name: string = error.params.missingProperty;
    const [example] = exampleOf(parent.properties?.[name]);
    add(
      `${where} has no ${name}`,
      example === undefined ? `Add ${name}.` : `Add ${name}, for example ${name}: ${example}.`,
    );
  } else if (error.keyword === 'oneOf') reportChoice(error, where, add);
  else {
    const [example] = exampleOf(parent);
    const cure = suggestion(error, example);
    const expected = typeof parent.title === 'string' ? parent.title : (error.message ?? 'valid');
    add(`${where} must be ${expected}, not ${valueText(error.data)}`, cure);
  }
}

const suggestion = ({ data, parentSchema }: ErrorObject, example: string | undefined): string => {
  const choices: unknown = parentSchema?.enum ?? deref(parentSchema?.anyOf?.[0]).enum;
  if (typeof data === 'string' && Array.isArray(choices)) return cureOfName(data, choices.map(String));
  return example === undefined ? 'Correct the value.' : `Write for example ${example}.`;
};

/** A schema, or the definition that it refers to. */
const deref = (part: unknown): Readonly<Record<string, unknown>> => {
  if (!isObject(part)) return {};
  const [, name] = /^#\/\$defs\/(.*)$/.exec(String(part.$ref)) ?? [];
  return name === undefined ? part : { ...Reflect.get(schema.$defs, name), ...part };
};

/** The first example of a schema, as YAML in one line. */
function exampleOf(part: unknown): readonly string[] {
  const { examples } = deref(part);
  return Array.isArray(examples) && examples.length > 0 ? [flow(examples[0])] : [];
}

/** A value as YAML in one line. */
const flow = (value: unknown): string => {
  if (Array.isArray(value)) return `[${value.map(flow).join(', ')}]`;
  if (isObject(value))
    return `{${Object.entries(value)
      .map(([name, one]) => `${name}: ${flow(one)}`)
      .join(', ')}}`;
  return String(value);
};

/** A step needs exactly one action, a steady check exactly one kind. An unknown field is reported instead of a missing action. */
function reportChoice(error: ErrorObject, where: string, add: (message: string, cure: string) => void): void {
  const known = Object.keys(error.parentSchema?.properties ?? {});
  const names = Object.keys(Object(error.data));
  if (names.some((name) => !known.includes(name))) return;
  const choices = (error.schema as readonly { readonly required: readonly string[] }[]).flatMap(
    ({ required }) => required,
  );
  const chosen = names.filter((name) => choices.includes(name) && Object(error.data)[name] !== true);
  const isStep = choices.includes('give-back');
  const kind = isStep ? 'action' : 'check';
  if (chosen.length > 1)
    add(`${where} has ${chosen.length} ${kind}s: ${chosen.join(', ')}`, `Write an entry of its own for each.`);
  else add(`${where} has no ${kind}`, `Add one of ${(isStep ? actionNames : choices).join(', ')}.`);
}
