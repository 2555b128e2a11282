import { Rejection } from '@interlock/event-store';
import { names } from '@interlock/rpc';
import { UsageError } from '../problems.ts';

/** Kinds of names. */
export type NameKind = keyof typeof names | 'keyOrVersion' | 'onlyVersion' | 'container' | 'role' | 'scope';

/** Defaults for the parts of a name that are not typed. */
export interface NameDefaults {
  /** `subscriptions/{s}`. */
  readonly subscription: string | undefined;
  /** Last segment of a resource group. */
  readonly group: string | undefined;
  /** Names of principals by `principals/{uuid}`: `set:des1`, `me`, a display name. */
  readonly spoken?: ReadonlyMap<string, string>;
}

/**
 * Completes a name: `kv1/k1` → `vaults/kv1/keys/k1`, `d1` → `subscriptions/s/resourceGroups/g/disks/d1`. A full name stays as it is.
 * @param flag where it was typed, for the error
 * @throws UsageError that says what is allowed
 */
export function fullName(kind: NameKind, text: string, defaults: NameDefaults, flag: string): string {
  if (kind === 'scope') return scope(text, defaults, flag);
  if (kind === 'container')
    return fullName(/^subscriptions\/[^/]+$/.test(text) ? 'subscription' : 'resourceGroup', text, defaults, flag);
  if (kind === 'role') return text.startsWith('roles/') ? text : `roles/${text}`;
  if (kind === 'keyOrVersion' || kind === 'onlyVersion') {
    const isVersion = text.split('/').length === 3 || text.includes('/versions/');
    return fullName(isVersion ? 'keyVersion' : 'key', text, defaults, flag);
  }
  const { pattern } = names[kind];
  const words = pattern.split('/');
  const typed = text.split('/');
  const variables = words.length / 2;
  const isFull = typed[0] === words[0] && typed.length === words.length;
  const full = isFull ? text : filled(words, typed, defaults, missing(kind, text, flag, variables));
  return validated(kind, full, flag);
}

/**
 * The short form that `fullName` completes with the same defaults; a text that is no name stays as it is. A principal with a
 * spoken name has it before its id.
 */
export function shortName(text: string, defaults: NameDefaults): string {
  const said = defaults.spoken?.get(text);
  if (said !== undefined) return `${said} (${shortName(text, { ...defaults, spoken: new Map() })})`;
  const words = text.split('/');
  const kind = Object.values(names).find(
    ({ pattern }) =>
      pattern.split('/').length === words.length &&
      pattern.split('/').every((word, index) => word.startsWith('{') || word === words[index]),
  );
  if (kind === undefined) return text;
  const ids = words.filter((_, index) => index % 2 === 1);
  const isBelowGroup = kind.pattern.startsWith('subscriptions/') && words.length > 4;
  if (!isBelowGroup) return ids.join('/');
  const isOwnSubscription = `subscriptions/${ids[0]}` === defaults.subscription;
  if (!isOwnSubscription) return ids.join('/');
  return ids.slice(ids[1] === defaults.group ? 2 : 1).join('/');
}

/** Takes `vaults/v/keys/k` apart into the parent and the id a create wants: `vaults/v` and `k`. */
export function parentAndId(name: string): { readonly parent: string; readonly id: string } {
  const words = name.split('/');
  return { parent: words.slice(0, -2).join('/'), id: words.at(-1) ?? '' };
}

function filled(
  words: readonly string[],
  typed: readonly string[],
  { subscription, group }: NameDefaults,
  fail: (why: string, shortest?: string) => UsageError,
): string {
  const variables = words.length / 2;
  const lacking = variables - typed.length;
  const below = words[0] === 'subscriptions';
  if (typed.length > 1 && words.some((word, index) => index % 2 === 0 && word === typed[0])) {
    throw fail('it begins like a full name of another kind');
  }
  if (lacking < 0 || typed.includes('')) throw fail('it has too many or empty parts');
  if (lacking > 0 && !below) throw fail(`it has ${typed.length} of ${variables} parts`);
  const ids = [...typed];
  if (lacking >= 1 && variables >= 3) {
    if (lacking > 2) throw fail('it is too short');
    if (lacking === 2) {
      if (group === undefined)
        throw fail('no default resource group is set (--group or INTERLOCK_GROUP)', `{group}/${typed.join('/')}`);
      ids.unshift(group);
    }
  }
  if (ids.length < variables) {
    const id = subscription?.replace(/^subscriptions\//, '');
    if (id === undefined) throw fail('no default subscription is set (--subscription or INTERLOCK_SUBSCRIPTION)');
    ids.unshift(id);
  }
  return words.map((word, index) => (index % 2 === 0 ? word : ids[(index - 1) / 2])).join('/');
}

const missing =
  (kind: keyof typeof names, text: string, flag: string, variables: number) => (why: string, shortest?: string) => {
    const short = shortest ?? shortPatternOf(kind, variables);
    return new UsageError(`${flag} "${text}" is not a name: ${why}; write ${short} or ${names[kind].pattern}`);
  };

const shortPatternOf = (kind: keyof typeof names, variables: number): string =>
  names[kind].pattern
    .split('/')
    .filter((_, index) => index % 2 === 1)
    .slice(Math.min(2, variables - 1) * (names[kind].pattern.startsWith('subscriptions/') ? 1 : 0))
    .join('/');

function validated(kind: keyof typeof names, full: string, flag: string): string {
  try {
    names[kind].parse(full, flag);
    return full;
  } catch (error) {
    if (error instanceof Rejection) throw new UsageError(error.message, { cause: error });
    throw error;
  }
}

/** A scope is `/`, a tenant, a subscription, or a path below one. In scopes, vaults are below a resource group. */
function scope(text: string, defaults: NameDefaults, flag: string): string {
  if (text === '/' || /^(tenants|subscriptions)\/[^/]+(\/[^/]+\/[^/]+)*$/.test(text)) return text;
  if (text === 'subscription' && defaults.subscription !== undefined) return defaults.subscription;
  if (text === 'group') return fullName('resourceGroup', defaults.group ?? '', defaults, flag);
  throw new UsageError(
    `${flag} "${text}" is not a scope: write /, subscription, group (the default ones), tenants/t, subscriptions/s, or a path below one such as subscriptions/s/resourceGroups/g/vaults/v`,
  );
}
