import { createFileRegistry, type DescField, type DescMessage, fromBinary } from '@bufbuild/protobuf';
import { type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { fileDescriptorSet } from '@interlock/contracts/descriptors.ts';
import { Rejection } from '@interlock/event-store';

/**
 * Why a request cannot be read: NUMBER_OUT_OF_RANGE for a whole number beyond ±(2^53 - 1), otherwise REQUEST_MALFORMED. Loaded at the
 * first such request: this library and the descriptors take a fifth of the processor time of a service's start.
 * @param path `/package.Service/Method`
 * @param error what the decoder threw
 */
export const unreadable = (path: string, bytes: Uint8Array, error: unknown): Rejection => {
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

/** All messages and services of this project; created on first use. */
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
