import { Rejection } from '@interlock/event-store/rejection';

type Variables<Pattern extends string> = Pattern extends `${infer Head}/${infer Tail}`
  ? Variables<Head> | Variables<Tail>
  : Pattern extends `{${infer Name}}`
    ? Name
    : never;

/** Names of one kind of resource: paths of fixed words and ids (AIP-122). */
export interface ResourceName<Pattern extends string> {
  readonly pattern: Pattern;
  /** Builds a name from checked ids. */
  format(ids: Readonly<Record<Variables<Pattern>, string>>): string;
  /**
   * Parses a name.
   * @param field request field of the name, for the error
   * @throws Rejection INVALID_ARGUMENT NAME_INVALID with the field and the expected form
   */
  parse(name: string, field: string): Readonly<Record<Variables<Pattern>, string>>;
}

/** Form of an id, with its description for the error. */
export interface IdRule {
  readonly pattern: RegExp;
  readonly words: string;
}

/** Rules by the name of the variable. Others have `defaultRule`. */
const rules: Readonly<Record<string, IdRule>> = {
  // KV-02
  vault: {
    pattern: /^[A-Za-z][A-Za-z0-9-]{2,23}$/,
    words: '3 to 24 letters, digits or hyphens, beginning with a letter',
  },
  key: { pattern: /^[A-Za-z0-9-]{1,127}$/, words: '1 to 127 letters, digits or hyphens' },
  // KV-01
  version: { pattern: /^[0-9a-f]{32}$/, words: '32 lower-case hexadecimal digits' },
  // CMK-42
  diskEncryptionSet: { pattern: /^[A-Za-z0-9_-]{1,80}$/, words: '1 to 80 letters, digits, underscores or hyphens' },
  principal: { pattern: /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, words: 'a UUID in lower case' },
  roleAssignment: { pattern: /^[0-9a-f]{8}(-[0-9a-f]{4}){3}-[0-9a-f]{12}$/, words: 'a UUID in lower case' },
};
const defaultRule: IdRule = {
  pattern: /^[A-Za-z0-9][A-Za-z0-9_.-]{0,79}$/,
  words: '1 to 80 letters, digits, _, . or -, beginning with a letter or digit',
};

/** The rule for ids of that kind: for requests that name a new resource by id alone. */
export const idRule = (variable: string): IdRule => rules[variable] ?? defaultRule;

/**
 * Checks the id of a resource to be created.
 * @throws Rejection INVALID_ARGUMENT ID_INVALID with the field and the expected form
 */
export const checkId = (id: string, variable: string, field: string): string => {
  const rule = idRule(variable);
  if (rule.pattern.test(id)) return id;
  throw new Rejection('INVALID_ARGUMENT', 'ID_INVALID', `${field} must be ${rule.words}, not "${id.slice(0, 200)}"`, {
    field,
    value: id.slice(0, 200),
  });
};

/** Most cached parsed names of one kind, some 300 bytes each. */
const namesMax = 2_000;

/** Describes the names of one kind, for example `vaults/{vault}/keys/{key}`. */
export const resourceName = <const Pattern extends string>(pattern: Pattern): ResourceName<Pattern> => {
  const segments = pattern.split('/').map((text) => {
    const variable = /^\{(.*)\}$/.exec(text)?.[1];
    return { text, variable, rule: variable === undefined ? undefined : idRule(variable) };
  });
  /** The first malformed id in a name that otherwise has this form. */
  const wrongPart = (parts: readonly string[]) => {
    const isForm = parts.length === segments.length && segments.every(({ text, rule }, n) => rule || parts[n] === text);
    if (!isForm) return undefined;
    return segments.flatMap(({ text, variable, rule }, n) =>
      variable === undefined || rule?.pattern.test(parts[n] ?? '') !== false ? [] : [{ text, rule }],
    )[0];
  };
  /** Cache of parsed names: requests repeat the same ones. */
  const read = new Map<string, Record<Variables<Pattern>, string>>();
  return {
    pattern,
    format: (ids) => {
      const given: Readonly<Record<string, string>> = ids;
      return segments.map(({ text, variable }) => (variable === undefined ? text : given[variable])).join('/');
    },
    parse: (name, field) => {
      const before = read.get(name);
      if (before) return before;
      const parts = name.split('/');
      const ids: Record<string, string> = {};
      const fits =
        parts.length === segments.length &&
        segments.every(({ text, variable, rule }, n) => {
          const part = parts[n] ?? '';
          if (variable === undefined || rule === undefined) return part === text;
          ids[variable] = part;
          return rule.pattern.test(part);
        });
      if (!fits) {
        const value = name.slice(0, 200);
        const wrong = wrongPart(parts);
        const why = wrong === undefined ? '' : `: ${wrong.text} must be ${wrong.rule.words}`;
        throw new Rejection(
          'INVALID_ARGUMENT',
          'NAME_INVALID',
          `${field} must look like ${pattern}, not "${value}"${why}`,
          {
            field,
            value,
            pattern,
          },
        );
      }
      if (read.size === namesMax) read.clear();
      const found = Object.freeze(ids as Record<Variables<Pattern>, string>);
      read.set(name, found);
      return found;
    },
  };
};

/** Names of all resources of the services. */
export const names = {
  tenant: resourceName('tenants/{tenant}'),
  subscription: resourceName('subscriptions/{subscription}'),
  resourceGroup: resourceName('subscriptions/{subscription}/resourceGroups/{resourceGroup}'),
  principal: resourceName('principals/{principal}'),
  roleAssignment: resourceName('roleAssignments/{roleAssignment}'),
  vault: resourceName('vaults/{vault}'),
  key: resourceName('vaults/{vault}/keys/{key}'),
  keyVersion: resourceName('vaults/{vault}/keys/{key}/versions/{version}'),
  diskEncryptionSet: resourceName(
    'subscriptions/{subscription}/resourceGroups/{resourceGroup}/diskEncryptionSets/{diskEncryptionSet}',
  ),
  diskHost: resourceName('diskHosts/{diskHost}'),
  disk: resourceName('subscriptions/{subscription}/resourceGroups/{resourceGroup}/disks/{disk}'),
  snapshot: resourceName('subscriptions/{subscription}/resourceGroups/{resourceGroup}/snapshots/{snapshot}'),
  vmHost: resourceName('vmHosts/{vmHost}'),
  virtualMachine: resourceName(
    'subscriptions/{subscription}/resourceGroups/{resourceGroup}/virtualMachines/{virtualMachine}',
  ),
} as const;

/** The subscription of a resource. @throws Rejection INVALID_ARGUMENT NAME_INVALID for a name without one */
export const subscriptionOf = (name: string): string => {
  const [, subscription] = /^(subscriptions\/[^/]+)(\/|$)/.exec(name) ?? [];
  if (subscription) return subscription;
  throw new Rejection('INVALID_ARGUMENT', 'NAME_INVALID', `"${name.slice(0, 200)}" lies in no subscription`, {
    value: name.slice(0, 200),
  });
};
