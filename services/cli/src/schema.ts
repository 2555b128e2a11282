import {
  createFileRegistry,
  type DescMessage,
  type DescMethod,
  fromBinary,
  fromJson,
  type JsonObject,
  type JsonValue,
  toBinary,
  toJson,
} from '@bufbuild/protobuf';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { fileDescriptorSet } from '@interlock/contracts/descriptors.ts';
import type { Definition } from '@interlock/rpc';
import { UsageError } from './usage-error.ts';

const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, fileDescriptorSet));

/** A method in the two forms it is needed in: described, to read flags and render answers; generated, to call it. */
export interface Method {
  readonly definition: Definition;
  /** `createVault`: what clients call it. */
  readonly key: string;
  readonly request: DescMessage;
  readonly response: DescMessage;
  /** `interlock.key_vault.v1.KeyVaultService/CreateVault`. */
  readonly path: string;
  readonly isStream: boolean;
  /** Whether it changes anything. */
  readonly hasEffect: boolean;
  /** Turns protobuf JSON into the generated form. @throws UsageError naming the field that does not fit */
  requestOf(json: JsonObject): unknown;
  /** Turns an answer in the generated form into protobuf JSON, fields with default values included. */
  jsonOf(answer: unknown): JsonObject;
}

/**
 * Looks up a method.
 * @param name as in the .proto file, `CreateVault`
 * @throws Error when the definition has none of that name
 */
export function methodOf(definition: Definition, name: string): Method {
  const described = describedMethod(definition, name);
  const found = Object.entries(definition.methods).find(([, { name: generated }]) => generated === name);
  if (found === undefined) throw new Error(`${definition.fullName} has no method ${name}`);
  const [key, { requestType, responseType, responseStream, options }] = found;
  const { input, output } = described;
  return {
    definition,
    key,
    request: input,
    response: output,
    path: `${definition.fullName}/${name}`,
    isStream: responseStream,
    hasEffect: options.idempotencyLevel !== 'NO_SIDE_EFFECTS',
    requestOf: (json) => requestType.decode(toBinary(input, checked(input, json))),
    jsonOf: (answer) => objectOf(toJson(output, fromBinary(output, responseType.encode(answer).finish()), emitAll)),
  };
}

/** Reads a protobuf JSON object strictly. @throws UsageError for an unknown field or a value that does not fit */
export function checked(message: DescMessage, json: JsonObject) {
  try {
    return fromJson(message, json, { registry });
  } catch (error) {
    throw new UsageError(
      `the request is not a ${message.name}: ${error instanceof Error ? error.message : String(error)}`,
      {
        cause: error,
      },
    );
  }
}

const emitAll = { registry, alwaysEmitImplicit: true } as const;

function describedMethod(definition: Definition, name: string): DescMethod {
  const described = registry.getService(definition.fullName)?.methods.find((method) => method.name === name);
  if (described === undefined) throw new Error(`${definition.fullName} is described without a method ${name}`);
  return described;
}

/** @throws Error for JSON that is not an object; only for what is known to be one */
export function objectOf(json: JsonValue): JsonObject {
  if (isObject(json)) return json;
  throw new Error('a message is an object in JSON');
}

/** Whether the value is an object with fields: neither a list nor null. */
export function isObject(json: unknown): json is JsonObject {
  return typeof json === 'object' && json !== null && !Array.isArray(json);
}
