import type { Json, JsonObject } from './store.ts';

/** Every field of any event of a union, but for its type. */
type FieldOf<Event> = Exclude<Event extends unknown ? keyof Event : never, 'type'> & string;

/**
 * Fields of the events of one kind that hold no secret: those that an operator may read. `volume.volumeId` names one field of an object.
 * A field that is absent here is withheld, so a new one is withheld until its owner lists it.
 */
export type ReadableFields<Event> = readonly (FieldOf<Event> | `${FieldOf<Event>}.${string}`)[];

/** The data of an event as an operator may read it. */
export interface ReadableData {
  readonly data: JsonObject;
  /** Names of fields that are left out, sorted. */
  readonly withheld: readonly string[];
}

/** Leaves out what is not readable. @param readable paths of fields, as in `ReadableFields` */
export const readableData = (data: JsonObject, readable: readonly string[]): ReadableData => {
  const shown: Record<string, Json> = {};
  const withheld: string[] = [];
  for (const [field, value] of Object.entries(data)) {
    if (readable.includes(field)) {
      shown[field] = value;
      continue;
    }
    const inside = readable.flatMap((path) => (path.startsWith(`${field}.`) ? [path.slice(field.length + 1)] : []));
    if (inside.length === 0 || !isObject(value)) {
      withheld.push(field);
      continue;
    }
    const part = readableData(value, inside);
    shown[field] = part.data;
    withheld.push(...part.withheld.map((name) => `${field}.${name}`));
  }
  return { data: shown, withheld: withheld.sort() };
};

const isObject = (value: Json): value is JsonObject =>
  typeof value === 'object' && value !== null && !Array.isArray(value);
