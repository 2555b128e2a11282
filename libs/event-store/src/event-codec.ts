import type { JsonObject, NewEvent, RecordedEvent } from './store.ts';

/** An event as deciders see it: its type, and its data beside it. */
export type EventOf = { readonly type: string };

/** Turns old stored data of one event type into the next shape; index n lifts schema n to n + 1. */
export type Upcasters = Readonly<Record<string, Readonly<Record<number, (data: JsonObject) => JsonObject>>>>;

/** Between the flat event deciders see and the stored form with its schema number. */
export const eventCodec = <Event extends EventOf>(upcast: Upcasters) => {
  const lifted = new Map(
    Object.entries(upcast).map(([type, lifts]) => [type, 1 + Math.max(0, ...Object.keys(lifts).map(Number))]),
  );
  const currentSchema = (type: string): number => lifted.get(type) ?? 1;
  return {
    encode: ({ type, ...data }: Event): NewEvent => ({ type, schema: currentSchema(type), data: data as JsonObject }),
    decode: ({ type, schema, data }: NewEvent): Event => {
      const current = currentSchema(type);
      let shape = data;
      for (let version = schema; version < current; version++) {
        const lift = upcast[type]?.[version];
        if (!lift) throw new Error(`no upcaster for ${type} from schema ${version}`);
        shape = lift(shape);
      }
      return { type, ...shape } as unknown as Event;
    },
  };
};

/**
 * Reads stored events of one category back in the shape deciders see, upcast: for whoever tells others about them.
 * @returns the id of the stream and the event, or `undefined` for an event of another category
 */
export const eventReader = <Event extends EventOf>(definition: {
  readonly name: string;
  readonly upcast?: Upcasters;
  readonly evolve: (state: never, event: Event) => unknown;
}) => {
  const codec = eventCodec<Event>(definition.upcast ?? {});
  const prefix = `${definition.name}-`;
  return (recorded: RecordedEvent): { readonly id: string; readonly event: Event } | undefined =>
    recorded.stream.startsWith(prefix)
      ? { id: recorded.stream.slice(prefix.length), event: codec.decode(recorded) }
      : undefined;
};
