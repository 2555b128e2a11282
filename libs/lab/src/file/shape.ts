import { Ajv2020, type ErrorObject, type ValidateFunction } from 'ajv/dist/2020.js';
import schema from '../../experiment.schema.json' with { type: 'json' };
import type { Document, Path } from './document.ts';
import type { Problems } from './problems.ts';
import { checkSchema, isObject } from './schema-problems.ts';

/** A step as it is written: `at`, options, and one action with its target. */
export type RawStep = Readonly<
  Record<string, string | number | boolean | RawHost | readonly (string | RawHost)[] | undefined>
>;

/** The disk host with the disks of a group, or the VM host with its guests, as a target. */
export type RawHost = { readonly 'disk-host-of': string } | { readonly 'vm-host-of': string };

export type RawDisk = string | Readonly<Record<string, string>>;

export interface RawGroup {
  readonly machines: number;
  readonly disks: readonly RawDisk[];
  readonly key?: string;
  readonly role?: 'treatment' | 'control';
  readonly guest?: 'process' | 'qemu';
  readonly onHostLoss?: 'stay' | 'restart';
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

/** An entry of `search.actions`: an action with `any` or a list of targets, and ranges. */
export type RawSearchAction = Readonly<Record<string, string | readonly string[] | undefined>>;

export interface RawSearch {
  readonly steps?: number;
  readonly within?: string;
  readonly actions?: readonly RawSearchAction[];
}

/** A file that matches the schema, with synonyms replaced by the names used here. */
export interface RawFile {
  readonly title: string;
  readonly description?: string;
  readonly seed?: number;
  readonly settings?: Readonly<Record<string, string | number | boolean>>;
  /** A number is `diskHosts` or `vmHosts`. */
  readonly estate: Readonly<Record<string, RawGroup | number>> | { readonly existing: { readonly group: string } };
  readonly steady?: readonly RawSteady[];
  readonly timeline?: readonly RawStep[];
  readonly rollback?: readonly RawStep[];
  readonly proof?: readonly RawProof[];
  readonly abort?: readonly RawCondition[];
  readonly expect?: readonly RawCondition[];
  readonly search?: RawSearch;
  /** Read by `readMatrix`. */
  readonly matrix?: unknown;
}

export type Section = keyof RawFile;

/** Synonyms of other chaos tools for sections of the file. */
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

/** A file that matches the schema. `place`: converts a path with names of `RawFile` to the path in the text. */
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
  checkSchema(data, { schema, validate: validator(), reportChoice }, problems);
  if (typeof data.estate === 'string')
    problems.add(
      ['estate'],
      `estate names the file "${data.estate}", which was not read`,
      'Use interlock experiment, which reads it, or write the groups here.',
    );
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

let compiled: ValidateFunction | undefined;

/** Compiled for the first file, so that a command without a file does not wait for it. */
const validator = (): ValidateFunction => {
  compiled ??= new Ajv2020({ allErrors: true, verbose: true, allowUnionTypes: true, strictRequired: false }).compile(
    schema,
  );
  return compiled;
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
  const kind = choices.includes('disable-key') ? 'action' : 'check';
  if (chosen.length > 1)
    add(`${where} has ${chosen.length} ${kind}s: ${chosen.join(', ')}`, `Write an entry of its own for each.`);
  else add(`${where} has no ${kind}`, `Add one of ${choices.join(', ')}.`);
}
