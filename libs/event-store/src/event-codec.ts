import type { JsonObject, NewEvent, RecordedEvent } from './store.ts';

/** An event as deciders see it: its type and its data in one object. */
export type EventOf = { readonly type: string };

/** Converts old stored data by event type: function n converts schema n to schema n + 1. */
export type Upcasters = Readonly<Record<string, Readonly<Record<number, (data: JsonObject) => JsonObject>>>>;

/** Converts between the flat event of deciders and the stored form with its schema number. */
export const eventCodec = <Event extends EventOf>(upcast: Upcasters) => {
  const schemas = new Map(
    Object.entries(upcast).map(([type, casts]) => [type, 1 + Math.max(0, ...Object.keys(casts).map(Number))]),
  );
  const currentSchema = (type: string): number => schemas.get(type) ?? 1;
  return {
    encode: ({ type, ...data }: Event): NewEvent => ({ type, schema: currentSchema(type), data: data as JsonObject }),
    decode: ({ type, schema, data }: NewEvent): Event => {
      const current = currentSchema(type);
      let shape = data;
      for (let version = schema; version < current; version++) {
        const cast = upcast[type]?.[version];
        if (!cast) throw new Error(`no upcaster for ${type} from schema ${version}`);
        shape = cast(shape);
      }
      return { type, ...shape } as unknown as Event;
    },
  };
};

/**
 * Reads stored events of one category in their current shape, for publishing them.
 * @returns the id of the stream and the event, or `undefined` for an event of another category
 */
export const eventReader = <Event extends EventOf>(definition: {
  readonly name: string;
  readonly upcast?: Upcasters;
  readonly evolve: (state: never, event: Event, version: number) => unknown;
}) => {
  const codec = eventCodec<Event>(definition.upcast ?? {});
  const prefix = `${definition.name}-`;
  return (recorded: RecordedEvent): { readonly id: string; readonly event: Event } | undefined =>
    recorded.stream.startsWith(prefix)
      ? { id: recorded.stream.slice(prefix.length), event: codec.decode(recorded) }
      : undefined;
};
