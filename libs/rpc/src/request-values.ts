import { createFileRegistry, type DescField, type DescMessage, fromBinary } from '@bufbuild/protobuf';
import { type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { fileDescriptorSet } from '@interlock/contracts/descriptors.ts';
import { Rejection } from '@interlock/event-store';

/** Bytes of a request that could not be decoded. They replace the message until the pipeline refuses the call. */
export class UnreadableRequest {
  readonly bytes: Uint8Array;
  readonly error: unknown;
  constructor(bytes: Uint8Array, error: unknown) {
    this.bytes = bytes;
    this.error = error;
  }
}

/**
 * Wraps a decoder so that it never throws: gRPC would answer INTERNAL, without the field.
 * @returns decodes to the message, or to an `UnreadableRequest`
 */
export const readable =
  <Message>(decode: (bytes: Uint8Array) => Message) =>
  (bytes: Uint8Array): Message => {
    try {
      return decode(bytes);
    } catch (error) {
      // The handler never sees it: the pipeline refuses the call first (`checkRequest`).
      return new UnreadableRequest(bytes, error) as Message;
    }
  };

/**
 * Checks the rules of all requests, independent of the method. It costs nothing for messages without a timestamp.
 * @param path `/package.Service/Method`
 * @throws Rejection INVALID_ARGUMENT REQUEST_MALFORMED for bytes that are no such message, NUMBER_OUT_OF_RANGE for a whole number
 *   beyond ±(2^53 - 1), TIMESTAMP_OUT_OF_RANGE for one outside of the years 1 to 9999
 */
export const checkRequest = (path: string, request: unknown): void => {
  if (request instanceof UnreadableRequest) throw refusalOf(path, request);
  timestampCheckOf(path)?.(request, '');
};

/** Prepares the check of a method, so that its first request does not wait some 50 ms for it. */
export const prepareCheck = (path: string): void => {
  timestampCheckOf(path);
};

/** The messages of a request stream, each checked when it is read. @throws Rejection as `checkRequest`, from `next` */
export const checkedRequests = <Message>(path: string, messages: AsyncIterable<Message>): AsyncIterable<Message> => ({
  [Symbol.asyncIterator]() {
    const iterator = messages[Symbol.asyncIterator]();
    return {
      // Not a generator, which would cost too much for each message of the data path.
      next: async () => {
        const result = await iterator.next();
        if (result.done !== true) checkRequest(path, result.value);
        return result;
      },
      return: async () => {
        await iterator.return?.();
        return { done: true, value: undefined };
      },
    };
  },
});

/** All messages and services of this project; created on first use, because clients never need it. */
const registry = (() => {
  let made: ReturnType<typeof createFileRegistry> | undefined;
  return () => {
    made ??= createFileRegistry(fromBinary(FileDescriptorSetSchema, fileDescriptorSet));
    return made;
  };
})();

const requestTypeOf = (path: string): DescMessage | undefined => {
  const [, service = '', method] = path.split('/');
  return registry()
    .getService(service)
    ?.methods.find(({ name }) => name === method)?.input;
};

const refusalOf = (path: string, { bytes, error }: UnreadableRequest): Rejection => {
  const type = requestTypeOf(path);
  const found = type === undefined ? undefined : unsafeNumberIn(type, bytes);
  if (found === undefined) {
    const message = 'the request is not a message of this method: its bytes cannot be decoded';
    return new Rejection('INVALID_ARGUMENT', 'REQUEST_MALFORMED', message, {}, { cause: error });
  }
  const { field, value } = found;
  return new Rejection(
    'INVALID_ARGUMENT',
    'NUMBER_OUT_OF_RANGE',
    `${field} must be from ${Number.MIN_SAFE_INTEGER} to ${Number.MAX_SAFE_INTEGER} (got ${value})`,
    { field, value: String(value) },
    { cause: error },
  );
};

interface FoundNumber {
  readonly field: string;
  readonly value: bigint;
}

/** The number that generated code refused in a well-formed message: one that a JavaScript number cannot hold exactly. */
const unsafeNumberIn = (type: DescMessage, bytes: Uint8Array): FoundNumber | undefined => {
  try {
    return unsafeNumber(reflect(type, fromBinary(type, bytes)), '');
  } catch {
    // Not well-formed.
    return undefined;
  }
};

const unsafeNumber = (message: ReflectMessage, prefix: string): FoundNumber | undefined => {
  for (const field of message.fields) {
    if (!message.isSet(field)) continue;
    for (const [name, value] of valuesOf(message, field, prefix + field.name)) {
      if (typeof value === 'bigint' && !Number.isSafeInteger(Number(value))) return { field: name, value };
      if (field.message === undefined) continue;
      const found = unsafeNumber(value as ReflectMessage, `${name}.`);
      if (found !== undefined) return found;
    }
  }
  return undefined;
};

/** The values of a field, each with its path. */
const valuesOf = (message: ReflectMessage, field: DescField, name: string): [name: string, value: unknown][] => {
  if (field.fieldKind === 'list') return [...message.get(field)].map((value, n) => [`${name}[${n}]`, value]);
  if (field.fieldKind === 'map') return [...message.get(field)].map(([key, value]) => [`${name}[${key}]`, value]);
  return [[name, message.get(field)]];
};

/** Checks the timestamps of one message of generated code. */
type Check = (message: unknown, prefix: string) => void;

const checks = new Map<string, Check | undefined>();

/** The check of a method's request; undefined if it has no timestamp. */
const timestampCheckOf = (path: string): Check | undefined => {
  if (!checks.has(path)) {
    const type = requestTypeOf(path);
    checks.set(path, type === undefined ? undefined : checkOf(type));
  }
  return checks.get(path);
};

const checkOf = (type: DescMessage): Check | undefined => {
  const parts = type.fields.flatMap((field) => partOf(field) ?? []);
  if (parts.length === 0) return undefined;
  return (message, prefix) => {
    for (const part of parts) part(message, prefix);
  };
};

const partOf = (field: DescField): Check | undefined => {
  const { message: type, name, localName, oneof } = field;
  // Other messages of Google nest endlessly, and no request contains one.
  if (type === undefined || field.fieldKind === 'map') return undefined;
  const check: Check | undefined = type.typeName === 'google.protobuf.Timestamp' ? checkTimestamp : checkOf(type);
  if (check === undefined) return undefined;
  const inner = (value: unknown, path: string): void => {
    if (value !== undefined) check(value, type.typeName === 'google.protobuf.Timestamp' ? path : `${path}.`);
  };
  return (message, prefix) => {
    const value = oneof === undefined ? memberOf(message, localName) : chosenOf(message, oneof.localName, localName);
    if (Array.isArray(value)) for (const [n, item] of value.entries()) inner(item, `${prefix}${name}[${n}]`);
    else inner(value, prefix + name);
  };
};

const memberOf = (message: unknown, name: string): unknown => Reflect.get(message as object, name);

/** A oneof is `{ $case, value }` in generated code. */
const chosenOf = (message: unknown, oneof: string, name: string): unknown => {
  const chosen = memberOf(message, oneof);
  if (chosen === undefined || memberOf(chosen, '$case') !== name) return undefined;
  return memberOf(chosen, 'value');
};

/** 0001-01-01T00:00:00Z and the end of 9999: what google.protobuf.Timestamp allows. Milliseconds since the epoch. */
const EARLIEST_MS = -62_135_596_800_000;
const LATEST_MS = 253_402_300_799_999;

const checkTimestamp: Check = (value, field) => {
  // NaN for a time that a Date cannot hold: it fails every comparison.
  const ms = value instanceof Date ? value.getTime() : Number.NaN;
  if (ms >= EARLIEST_MS && ms <= LATEST_MS) return;
  throw new Rejection(
    'INVALID_ARGUMENT',
    'TIMESTAMP_OUT_OF_RANGE',
    `${field} must be from 0001-01-01T00:00:00Z to 9999-12-31T23:59:59.999Z`,
    { field },
  );
};
