import type { DescMessage } from '@bufbuild/protobuf';
import { UsageError } from '../problems.ts';
import { type DraftObject, has } from '../request/draft.ts';
import { type FieldFlag, flagsOf, isOptional } from '../request/field-flags.ts';
import { placeholderOf } from '../request/field-values.ts';
import type { Verb } from '../verbs/verb.ts';

/** How a verb is used, as one line: `disk grow <disk> --size <n> [--flags]`. */
export function usageOf(verb: Verb, request: DescMessage): string {
  const more = verb.many === undefined ? '' : '...';
  const words = (verb.targets ?? []).map((target) =>
    isOptional(target) ? `[${target.word}${more}]` : `<${target.word}${more}>`,
  );
  const wanted = requiredFlags(verb, request).map((flags) => flags.map(shown).join('|'));
  const optional = (verb.targets ?? []).filter(isOptional).flatMap((target) => ('field' in target ? target.field : []));
  // A flag that an argument can replace is shown once, as the argument.
  const flags = wanted.filter((_, index) => !isIn(optional, requiredFlags(verb, request)[index]));
  return [verb.noun, verb.verb, ...words, ...flags, '[--flags]'].join(' ');
}

/** @throws UsageError for required flags that are missing, with the usage */
export function refuseMissing(
  verb: Verb,
  request: DescMessage,
  draft: DraftObject,
  switches: ReadonlySet<string>,
): void {
  const isGiven = (flag: Required): boolean => ('path' in flag ? has(draft, flag.path) : switches.has(flag.name));
  const missing = requiredFlags(verb, request).filter((flags) => !flags.some(isGiven));
  if (missing.length === 0) return;
  const names = missing.map((flags) => flags.map(({ name }) => nameOf(name)).join(' or '));
  throw new UsageError(`missing ${names.join(', ')}. Usage: interlock ${usageOf(verb, request)} (--help says more)`);
}

/** A required flag: of a field, or a switch of the verb. */
type Required = FieldFlag | { readonly name: string };

function requiredFlags(verb: Verb, request: DescMessage): readonly (readonly Required[])[] {
  const flags = flagsOf(request, verb);
  return (verb.required ?? []).map((one) =>
    (typeof one === 'string' ? [one] : one).map((name) => {
      const found = flags.find((flag) => flag.name === name) ?? (name in (verb.switches ?? {}) ? { name } : undefined);
      if (found === undefined) throw new Error(`${verb.noun} ${verb.verb} has no flag --${name}`);
      return found;
    }),
  );
}

const isIn = (fields: readonly string[], flags: readonly Required[] = []): boolean =>
  flags.some((flag) => 'field' in flag && fields.includes(flag.field.name));

/** The resource group is a setting of every command. */
const nameOf = (name: string): string => (name === 'resource-group' ? '--group (or INTERLOCK_GROUP)' : `--${name}`);

const shown = (flag: Required): string => {
  const { name } = flag;
  if (!('field' in flag)) return `--${name}`;
  return name === 'resource-group'
    ? '--group <group>'
    : `--${name} <${flag.choices?.join('|') ?? placeholderOf(flag.field)}>`;
};
