import type { DescMessage } from '@bufbuild/protobuf';
import type { Random } from '@interlock/runtime';
import { UsageError } from '../problems.ts';
import type { Target, Verb } from '../verbs/verb.ts';
import { type DraftObject, has, put } from './draft.ts';
import { type FieldFlag, fieldOf, putFlag } from './field-flags.ts';
import { fieldValue, nameValue, type ValueContext } from './field-values.ts';
import { jsonText } from './message-text.ts';
import { fullName, parentAndId } from './names.ts';

/** The typed arguments and flags. */
export interface Typed {
  /** One per target; undefined for an optional one that is missing. */
  readonly words: readonly (string | undefined)[];
  /** Further names for the last target, for verbs that take several. */
  readonly more: readonly string[];
  /** Given flags, with their texts. */
  readonly flags: readonly (readonly [FieldFlag, readonly string[]])[];
  /** JSON, `@file` or `-`: a request that the rest changes. */
  readonly body: string | undefined;
}

export interface RequestContext extends ValueContext {
  readonly random: Pick<Random, 'uuid'>;
  /** `tenants/{t}`: default of new resources. */
  readonly tenant: string | undefined;
}

/** Builds the request of a verb from the body, then targets, flags and defaults. @throws UsageError */
export function draftOf(verb: Verb, request: DescMessage, typed: Typed, context: RequestContext): DraftObject {
  const draft = typed.body === undefined ? {} : jsonText(typed.body, '--body', context);
  for (const [index, target] of (verb.targets ?? []).entries()) {
    const word = typed.words[index];
    if (word !== undefined) putTarget(draft, request, target, word, context);
  }
  const given = new Map<string, string>();
  for (const [flag, texts] of typed.flags) {
    const field = flag.path.map(({ name }) => name).join('.');
    const before = given.get(field);
    if (before !== undefined && !flag.isRepeated) {
      throw new UsageError(`--${before} and --${flag.name} set the same field: use one of them`);
    }
    given.set(field, flag.name);
    for (const text of texts) putFlag(draft, flag, text, context);
  }
  for (const [name, source] of Object.entries(verb.defaults ?? {})) {
    const path = [fieldOf(request, name)];
    if (has(draft, path)) continue;
    const value = defaultOf(source, name, context);
    if (value !== undefined) put(draft, path, value);
  }
  return draft;
}

function putTarget(
  draft: DraftObject,
  request: DescMessage,
  target: Target,
  text: string,
  context: RequestContext,
): void {
  const shown = `<${target.word}>`;
  if ('parent' in target) {
    const { parent, id } = parentAndId(fullName(target.kind, text, context.names, shown));
    put(draft, [fieldOf(request, target.parent)], parent);
    put(draft, [fieldOf(request, target.idField)], id);
    return;
  }
  if ('oneOf' in target) {
    const form = target.oneOf.find(({ fits }) => fits.test(text));
    if (form === undefined) {
      const hint = target.otherwise === undefined ? '' : `; ${target.otherwise}`;
      throw new UsageError(`${shown} must be a name of one of these kinds (got "${text}")${hint}`);
    }
    put(draft, [fieldOf(request, form.field)], nameValue(form.kind, text, shown, context.names));
    return;
  }
  const field = fieldOf(request, target.field);
  const value =
    'kind' in target
      ? nameValue(target.kind, text, shown, context.names)
      : fieldValue(field, text, shown, { ...context, kinds: {} });
  put(draft, [field], value);
}

type DefaultSource = NonNullable<Verb['defaults']>[string];

function defaultOf(source: DefaultSource, field: string, { random, tenant, names }: RequestContext) {
  switch (source) {
    case 'uuid':
      return random.uuid();
    case 'tenant':
      return tenant;
    case 'group':
      // Without a group the service says what is missing.
      return names.group === undefined ? undefined : fullName('resourceGroup', names.group, names, field);
    case 'group-or-subscription':
      return names.group === undefined ? names.subscription : fullName('resourceGroup', names.group, names, field);
  }
}
