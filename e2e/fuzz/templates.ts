import { type DescField, type DescMethod, fromBinary, toBinary } from '@bufbuild/protobuf';
import { type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import type { SeededRandom } from '@interlock/runtime';
import { fill, type Source, wellFormed } from './messages.ts';

/** How many requests of a method are kept. Newer ones name resources that still exist. */
const KEPT_MAX = 8;

/** The messages of a request, as bytes. */
type Request = readonly Uint8Array[];

/** Successful requests. With a few changes they reach code that a generated request rarely reaches. */
export interface Templates {
  succeeded(path: string, request: Request): void;
  /** One of the requests of that method; undefined if none succeeded. */
  pick(path: string, random: SeededRandom): Request | undefined;
}

/** Nothing succeeded yet. */
export const openTemplates = (): Templates => {
  const byPath = new Map<string, Request[]>();
  return {
    succeeded(path, request) {
      const kept = byPath.get(path) ?? [];
      byPath.set(path, kept);
      kept.push(request);
      if (kept.length > KEPT_MAX) kept.shift();
    },
    pick(path, random) {
      const kept = byPath.get(path);
      return kept === undefined ? undefined : random.pick(kept);
    },
  };
};

/**
 * Makes the messages of a request: from a template with one to three changed fields, or from scratch.
 * Of a stream only the first message has messages in it, as a header.
 */
export const messagesOf = (
  { input, methodKind }: DescMethod,
  template: Request | undefined,
  source: Source,
): readonly ReflectMessage[] => {
  const { random } = source;
  if (template !== undefined) {
    const messages = template.map((bytes) => reflect(input, fromBinary(input, bytes)));
    change(messages, source);
    return messages;
  }
  const count = methodKind === 'client_streaming' ? 1 + random.int(4) : 1;
  const isRegular = !random.chance(0.1);
  return Array.from({ length: count }, (_, n) => {
    const message = reflect(input, wellFormed(input, source));
    if (n === 0 || !isRegular) return message;
    for (const field of input.fields) if (field.fieldKind === 'message') message.clear(field);
    return message;
  });
};

/** The messages as bytes. */
export const encoded = ({ input }: DescMethod, messages: readonly ReflectMessage[]): Request =>
  messages.map(({ message }) => toBinary(input, message));

/** A field of a message, or of a message in it. */
interface Place {
  readonly message: ReflectMessage;
  readonly field: DescField;
  readonly depth: number;
}

const placesOf = (message: ReflectMessage, depth: number): readonly Place[] =>
  message.fields.flatMap((field) => [
    { message, field, depth },
    ...(field.fieldKind === 'message' && message.isSet(field) ? placesOf(message.get(field), depth + 1) : []),
  ]);

/** Changes one to three fields. Often it also replaces the ids of the resources to create. */
const change = (messages: readonly ReflectMessage[], source: Source): void => {
  const { random } = source;
  const places = messages.flatMap((message) => placesOf(message, 0));
  if (places.length === 0) return;
  for (const { message, field, depth } of places) {
    const isNew = field.fieldKind === 'scalar' && field.name.endsWith('_id') && message.isSet(field);
    if (isNew && random.chance(0.8)) fill(message, field, { ...source, oddness: 0 }, depth);
  }
  const count = 1 + random.int(3);
  for (let n = 0; n < count; n += 1) {
    const { message, field, depth } = random.pick(places);
    if (message.isSet(field) && random.chance(0.1)) message.clear(field);
    else fill(message, field, source, depth);
  }
};
