import type { Json } from '@interlock/event-store';

/** The state of a resource, read when the resources before it exist: `reference(id).member`. */
export class Reference {
  /** ARM id, or the name of a resource of the template. */
  readonly resource: string;
  /** The whole resource and not its properties. */
  readonly isFull: boolean;
  readonly path: readonly string[];

  constructor(resource: string, isFull: boolean, path: readonly string[] = []) {
    this.resource = resource;
    this.isFull = isFull;
    this.path = path;
  }

  member(name: string): Reference {
    return new Reference(this.resource, this.isFull, [...this.path, name]);
  }

  toJSON(): Json {
    return { [mark]: { resource: this.resource, isFull: this.isFull, path: [...this.path] } };
  }
}

const mark = '$reference';

interface Marker {
  readonly resource: string;
  readonly isFull: boolean;
  readonly path: readonly string[];
}

/** The reference that a value is; undefined for any other value. */
export const referenceIn = (value: unknown): Marker | undefined =>
  typeof value === 'object' && value !== null && mark in value ? (value as Record<string, Marker>)[mark] : undefined;

/** Resources that a value refers to. */
export const referredIn = (value: unknown): readonly string[] => {
  const found = referenceIn(value);
  if (found !== undefined) return [found.resource];
  if (typeof value !== 'object' || value === null) return [];
  return Object.values(value).flatMap(referredIn);
};

/**
 * The value with its references resolved.
 * @param read the resource
 * @throws Error of `read`; for a member that the resource does not have
 */
export const filledIn = async (value: Json, read: (resource: string) => Promise<Json>): Promise<Json> => {
  const reference = referenceIn(value);
  if (reference !== undefined) {
    const { resource, isFull, path } = reference;
    const whole = await read(resource);
    return (isFull ? path : ['properties', ...path]).reduce((part, name) => memberOf(part, name, resource), whole);
  }
  if (Array.isArray(value)) return Promise.all(value.map((one: Json) => filledIn(one, read)));
  if (typeof value !== 'object' || value === null) return value;
  const members = Object.entries(value).map(async ([name, member]) => [name, await filledIn(member, read)] as const);
  return Object.fromEntries(await Promise.all(members));
};

const memberOf = (whole: Json, name: string, resource: string): Json => {
  const members = Object.entries(typeof whole === 'object' && whole !== null ? whole : {});
  const [, found] = members.find(([known]) => known.toLowerCase() === name.toLowerCase()) ?? [];
  if (found !== undefined) return found;
  throw new UnknownMember(`the resource '${resource}' has no property '${name.slice(0, 100)}'`);
};

/** A reference names a property that the resource does not have. */
export class UnknownMember extends Error {
  override readonly name = 'UnknownMember';
}
