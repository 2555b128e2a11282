import type { ReflectMessage } from '@bufbuild/protobuf/reflect';

/** The value of a field that is not a message. */
export type Value = string | number | bigint | boolean | Uint8Array;

/** A field of a message with its value, at any depth. */
export interface Held {
  /** `key_version`. */
  readonly field: string;
  readonly value: Value;
}

/** Values that belong together: those of a request and of its response, or those of one item of a list. */
export type ValueRecord = readonly Held[];

/** Texts above this length are not kept. */
const TEXT_MAX = 1_000;

/**
 * All values of a message and of the messages in it. A message that names a protected principal gives no texts, so that
 * no request of the fuzzer names that principal.
 */
export const valuesOf = (message: ReflectMessage, protectedIds: readonly string[] = []): readonly Held[] => {
  const own: Held[] = [];
  const inner: Held[] = [];
  for (const field of message.fields) {
    if (!message.isSet(field)) continue;
    const { name } = field;
    if (field.fieldKind === 'message') inner.push(...valuesOf(message.get(field), protectedIds));
    else if (field.fieldKind === 'list') {
      for (const item of message.get(field)) {
        if (field.listKind === 'message') inner.push(...valuesOf(item as ReflectMessage, protectedIds));
        else own.push({ field: name, value: item as Value });
      }
    } else if (field.fieldKind === 'scalar' || field.fieldKind === 'enum') {
      own.push({ field: name, value: message.get(field) as Value });
    }
  }
  const isProtected = own.some(({ value }) => isText(value) && protectedIds.some((id) => value.includes(id)));
  const kept = own.filter(({ value }) => !isText(value) || (!isProtected && value !== '' && value.length < TEXT_MAX));
  return [...kept, ...inner];
};

const isText = (value: Value): value is string => typeof value === 'string';

/**
 * The records of a request and its response: one for each item of a list, otherwise a single one.
 * @param request undefined if its values no longer belong to those of the response
 */
export const recordsOf = (
  request: ReflectMessage | undefined,
  answer: ReflectMessage,
  protectedIds: readonly string[],
): readonly ValueRecord[] => {
  const items: ValueRecord[] = [];
  const isResource = answer.fields.some(({ name }) => name === 'name');
  for (const field of isResource ? [] : answer.fields) {
    if (field.fieldKind !== 'list' || field.listKind !== 'message') continue;
    for (const item of answer.get(field)) items.push(valuesOf(item as ReflectMessage, protectedIds));
  }
  if (items.length > 0) return items;
  const answered = valuesOf(answer, protectedIds);
  const isAnsweredName = answered.some(({ field }) => field === 'name');
  // The name of the response counts if the request has another one: that of a vault for a key, for example.
  const asked = request === undefined ? [] : valuesOf(request, protectedIds);
  return [[...asked.filter(({ field }) => field !== 'name' || !isAnsweredName), ...answered]];
};
