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

/** A template may have a member of that name with any content. */
const isMarker = (value: unknown): value is Marker => {
  const { resource, isFull, path } = (value ?? {}) as Partial<Record<keyof Marker, unknown>>;
  return (
    typeof resource === 'string' &&
    typeof isFull === 'boolean' &&
    Array.isArray(path) &&
    path.every((name) => typeof name === 'string')
  );
};

/** The reference that a value is; undefined for any other value. */
export const referenceIn = (value: unknown): Marker | undefined => {
  if (typeof value !== 'object' || value === null || !Object.hasOwn(value, mark)) return undefined;
  const found = (value as Record<string, unknown>)[mark];
  return isMarker(found) ? found : undefined;
};

/** Resources that a value refers to. */
export const referredIn = (value: unknown): readonly string[] => {
  const found = referenceIn(value);
  if (found !== undefined) return [found.resource];
  if (typeof value !== 'object' || value === null) return [];
  return Object.values(value).flatMap(referredIn);
};

/** Largest value with the state of resources in it, in characters of JSON. */
const filledCharactersMax = 1_000_000;

/**
 * The value with its references resolved. Each resource is read once, one after the other.
 * @param read the resource
 * @throws Error of `read`; UnusableReference for a member that the resource does not have, and for a value that is too large
 */
export const filledIn = async (value: Json, read: (resource: string) => Promise<Json>): Promise<Json> => {
  const known = new Map<string, Json>();
  for (const resource of referredIn(value)) {
    const key = resource.toLowerCase();
    if (!known.has(key)) known.set(key, await read(resource));
  }
  return known.size === 0 ? value : withStates(value, known);
};

/** @param states of resources, by what the references call them in lower case */
const withStates = (value: Json, states: ReadonlyMap<string, Json>): Json => {
  let left = filledCharactersMax;
  const stateAt = ({ resource, isFull, path }: Marker): Json => {
    const whole = states.get(resource.toLowerCase()) ?? null;
    const found = (isFull ? path : ['properties', ...path]).reduce(
      (part, name) => memberOf(part, name, resource),
      whole,
    );
    left -= JSON.stringify(found).length;
    if (left >= 0) return found;
    throw new UnusableReference(`references make the value larger than ${filledCharactersMax} characters`);
  };
  const fill = (one: Json): Json => {
    const reference = referenceIn(one);
    if (reference !== undefined) return stateAt(reference);
    if (Array.isArray(one)) return one.map(fill);
    if (typeof one !== 'object' || one === null) return one;
    return Object.fromEntries(Object.entries(one).map(([name, member]) => [name, fill(member)]));
  };
  return fill(value);
};

const memberOf = (whole: Json, name: string, resource: string): Json => {
  const members = Object.entries(typeof whole === 'object' && whole !== null ? whole : {});
  const [, found] = members.find(([known]) => known.toLowerCase() === name.toLowerCase()) ?? [];
  if (found !== undefined) return found;
  throw new UnusableReference(`the resource '${resource.slice(0, 200)}' has no property '${name.slice(0, 100)}'`);
};

/** A reference names a property that the resource does not have, or makes a value too large. */
export class UnusableReference extends Error {
  override readonly name = 'UnusableReference';
}
