import { readFileSync } from 'node:fs';
import * as installed from '@opentelemetry/semantic-conventions/incubating';

/*
 * The names of attributes, as the installed package @opentelemetry/semantic-conventions has them. Its constants are the names, and
 * its type declarations say which are deprecated. So an upgrade of the package renames what this check expects.
 */

/** What the package says of a name. */
export interface InstalledName {
  /** What replaces the name; undefined if it is not deprecated. */
  readonly deprecated: string | undefined;
}

const declarations = ['stable_attributes.d.mts', 'experimental_attributes.d.mts'];

/** Constants that a comment marks as deprecated, with the text of the mark. */
const deprecations = (): ReadonlyMap<string, string> => {
  const folder = new URL('.', import.meta.resolve('@opentelemetry/semantic-conventions/incubating'));
  const found = new Map<string, string>();
  for (const file of declarations) {
    const text = readFileSync(new URL(file, folder), 'utf8');
    for (const [, comment = '', constant = ''] of text.matchAll(
      /\/\*\*((?:(?!\*\/)[\s\S])*)\*\/\s*declare const (ATTR_\w+)/g,
    )) {
      const [, why] = /@deprecated\s+([^\n]*)/.exec(comment) ?? [];
      if (why !== undefined) found.set(constant, why.trim());
    }
  }
  if (found.size === 0)
    throw new Error(`${folder} has no deprecated attributes: the package has another form, adapt installed-names.ts`);
  return found;
};

const read = () => {
  const deprecated = deprecations();
  const names = new Map<string, InstalledName>();
  const prefixes: string[] = [];
  for (const [constant, value] of Object.entries(installed)) {
    if (!constant.startsWith('ATTR_')) continue;
    if (typeof value === 'string') names.set(value, { deprecated: deprecated.get(constant) });
    // A name with a key in it: http.request.header.<key>.
    else if (typeof value === 'function') prefixes.push((value as (key: string) => string)(''));
  }
  return { names, prefixes, namespaces: new Set([...names.keys()].map((name) => name.split('.')[0])) };
};

let known: ReturnType<typeof read> | undefined;

/**
 * Why a name of an attribute cannot be used: it is deprecated, or it lies in a namespace of the conventions and they do not have it.
 * undefined for a good name, also for one in a namespace of its own.
 */
export const wrongName = (name: string): string | undefined => {
  known ??= read();
  const found = known.names.get(name);
  if (found !== undefined)
    return found.deprecated === undefined ? undefined : `${name} is deprecated: ${found.deprecated}`;
  if (!known.namespaces.has(name.split('.')[0]) || known.prefixes.some((prefix) => name.startsWith(prefix)))
    return undefined;
  return `the conventions have no ${name}`;
};
