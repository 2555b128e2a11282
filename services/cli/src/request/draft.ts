import type { DescField, JsonObject, JsonValue } from '@bufbuild/protobuf';
import { UsageError } from '../problems.ts';

const looked = Symbol('looked up');

/** A value that a service looks up, after all typed values are checked. */
export interface Lookup {
  readonly [looked]: 'version' | 'only-version' | 'url' | 'set-identity' | 'self';
  /** Full name of a key, a key version or a set; empty for `self`. */
  readonly name: string;
}

/** A value of a request: protobuf JSON with open lookups. */
export type Draft = string | number | boolean | null | Lookup | Draft[] | DraftObject;

/** A message of a request, by JSON names. */
export interface DraftObject {
  [field: string]: Draft;
}

/** Answers lookups. */
export interface Resolver {
  /** Name of the current version of a key. */
  version(key: string): Promise<string>;
  /** Name of the only version of a key. @throws UsageError for several versions */
  onlyVersion(key: string): Promise<string>;
  /** Versioned URL of a key or a version. */
  url(keyOrVersion: string): Promise<string>;
  /** `principals/{uuid}` of a set. */
  setIdentity(set: string): Promise<string>;
  /** `principals/{uuid}` of the caller. */
  self(): string;
}

/** The current version of a key. */
export const versionOf = (name: string): Lookup => ({ [looked]: 'version', name });
/** The only version of a key. */
export const onlyVersionOf = (name: string): Lookup => ({ [looked]: 'only-version', name });
/** The URL of a key or a version. */
export const urlOf = (name: string): Lookup => ({ [looked]: 'url', name });
/** The principal of a set. */
export const identityOf = (name: string): Lookup => ({ [looked]: 'set-identity', name });
/** The caller's principal. */
export const self: Lookup = { [looked]: 'self', name: '' };

/** The request, with the results of the lookups. */
export async function resolved(draft: DraftObject, resolver: Resolver): Promise<JsonObject> {
  const entries: [string, JsonValue][] = [];
  for (const [key, value] of Object.entries(draft)) entries.push([key, await resolvedValue(value, resolver)]);
  return Object.fromEntries(entries);
}

async function resolvedValue(draft: Draft, resolver: Resolver): Promise<JsonValue> {
  if (typeof draft !== 'object' || draft === null) return draft;
  if (Array.isArray(draft)) {
    const values: JsonValue[] = [];
    for (const value of draft) values.push(await resolvedValue(value, resolver));
    return values;
  }
  if (!isLookup(draft)) return resolved(draft, resolver);
  switch (draft[looked]) {
    case 'version':
      return resolver.version(draft.name);
    case 'only-version':
      return resolver.onlyVersion(draft.name);
    case 'url':
      return resolver.url(draft.name);
    case 'set-identity':
      return resolver.setIdentity(draft.name);
    case 'self':
      return resolver.self();
  }
}

/** Whether a service looks up the value. */
export const isLookup = (draft: Draft): draft is Lookup =>
  typeof draft === 'object' && draft !== null && looked in draft;

/**
 * Puts a value into a draft, with the messages above it. `append` adds it to a list.
 * @throws UsageError when another field of the oneof is set, or a value above is no message
 */
export function put(draft: DraftObject, path: readonly DescField[], value: Draft, append = false): void {
  const [field, ...rest] = path;
  if (field === undefined) return;
  refuseSecondOfOneof(draft, field);
  const key = field.name in draft ? field.name : field.jsonName;
  if (rest.length > 0) {
    const inner = draft[key] ?? {};
    if (!isDraftObject(inner)) throw new UsageError(`${field.name} is a message, so it must be an object in JSON`);
    draft[key] = inner;
    put(inner, rest, value, append);
    return;
  }
  const before = draft[key];
  if (append) {
    const list = before ?? [];
    if (!Array.isArray(list)) throw new UsageError(`${field.name} is a list, so it must be an array in JSON`);
    draft[key] = [...list, value];
  } else {
    draft[key] = value;
  }
  if (field.parent.typeName === 'interlock.access.v1.Encryption' && field.name === 'disk_encryption_set') {
    // A set means the customer's key, unless the type says that both keys are used.
    draft.type ??= 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY';
  }
}

/** Whether the draft has a value at the path. */
export function has(draft: DraftObject, path: readonly DescField[]): boolean {
  const [field, ...rest] = path;
  if (field === undefined) return true;
  const value = draft[field.jsonName] ?? draft[field.name];
  if (value === undefined) return false;
  return rest.length === 0 || (isDraftObject(value) && has(value, rest));
}

function isDraftObject(value: Draft): value is DraftObject {
  return typeof value === 'object' && value !== null && !Array.isArray(value) && !isLookup(value);
}

function refuseSecondOfOneof(draft: DraftObject, field: DescField): void {
  const other = field.oneof?.fields.find((one) => one !== field && (one.name in draft || one.jsonName in draft));
  if (other !== undefined) throw new UsageError(`${field.name} and ${other.name} exclude each other: give one of them`);
}
