import {
  createFileRegistry,
  type DescMessage,
  type DescMethod,
  type FileRegistry,
  fromBinary,
  fromJson,
  type JsonObject,
  type JsonValue,
  type Message,
  toBinary,
  toJson,
} from '@bufbuild/protobuf';
import { FileDescriptorSetSchema, MethodOptions_IdempotencyLevel } from '@bufbuild/protobuf/wkt';
import { packageDescriptors } from '@interlock/contracts/package-descriptors.ts';
import type { Definition } from '@interlock/rpc';
import { UsageError } from '../problems.ts';

/** Full names of the services that commands call. The data path of disk is called by its generated client (`disk-data.ts`). */
export const Service = {
  compute: 'interlock.compute.v1.ComputeService',
  disk: 'interlock.disk.v1.DiskService',
  diskEncryptionSet: 'interlock.disk_encryption_set.v1.DiskEncryptionSetService',
  identity: 'interlock.identity.v1.IdentityService',
  keyVault: 'interlock.key_vault.v1.KeyVaultService',
  messaging: 'interlock.messaging.v1.MessagingService',
} as const;

/** Full name of a service: `interlock.key_vault.v1.KeyVaultService`. */
export type ServiceName = (typeof Service)[keyof typeof Service];

/** A method of a service, known by its descriptor alone: no generated code is loaded to call it. */
export interface Method {
  readonly service: ServiceName;
  /** For the RPC client. */
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
  /** Turns protobuf JSON into a message. @throws UsageError naming the field that does not fit */
  requestOf(json: JsonObject): Message;
  /** Turns a request in any form that protobuf JSON allows into one with lowerCamelCase names. @throws UsageError */
  canonical(json: JsonObject): JsonObject;
  /** Turns a response into protobuf JSON, fields with default values included. */
  jsonOf(answer: Message): JsonObject;
}

/**
 * Looks up a method.
 * @param name as in the .proto file, `CreateVault`
 * @throws Error when the service has none of that name
 */
export function methodOf(service: ServiceName, name: string): Method {
  const described = registryOf(service)
    .getService(service)
    ?.methods.find((method) => method.name === name);
  if (described === undefined) throw new Error(`${service} has no method ${name}`);
  const { input, output, localName } = described;
  return {
    service,
    get definition() {
      return definitionOf(service);
    },
    key: localName,
    request: input,
    response: output,
    path: `${service}/${name}`,
    isStream: described.methodKind === 'server_streaming',
    hasEffect: described.idempotency !== MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS,
    requestOf: (json) => checked(input, json),
    canonical: (json) => objectOf(toJson(input, checked(input, json), { registry: registryOf(service) })),
    jsonOf: (answer) => objectOf(toJson(output, answer, { registry: registryOf(service), alwaysEmitImplicit: true })),
  };
}

const registries = new Map<string, FileRegistry>();

/** The package of a service with what it imports. Decoded at the first use: all packages take some 40 ms. */
function registryOf(service: string): FileRegistry {
  const [, folder = ''] = service.split('.');
  const known = registries.get(folder);
  if (known !== undefined) return known;
  const encoded = packageDescriptors[folder];
  if (encoded === undefined) throw new Error(`the contracts have no package ${folder}`);
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, Buffer.from(encoded, 'base64')));
  registries.set(folder, registry);
  return registry;
}

const definitions = new Map<ServiceName, Definition>();

/** The service as the RPC client takes it. */
function definitionOf(service: ServiceName): Definition {
  const known = definitions.get(service);
  if (known !== undefined) return known;
  const described = registryOf(service).getService(service);
  if (described === undefined) throw new Error(`the contracts have no service ${service}`);
  const methods = Object.fromEntries(described.methods.map((method) => [method.localName, generated(method)]));
  const definition = { name: described.name, fullName: service, methods } satisfies Definition;
  definitions.set(service, definition);
  return definition;
}

const generated = ({ name, input, output, methodKind, idempotency }: DescMethod): Definition['methods'][string] => ({
  name,
  requestType: codec(input),
  requestStream: methodKind === 'client_streaming' || methodKind === 'bidi_streaming',
  responseType: codec(output),
  responseStream: methodKind === 'server_streaming' || methodKind === 'bidi_streaming',
  options: optionsOf(idempotency),
});

/** Form of a message type that ts-proto generates. */
const codec = (type: DescMessage): Definition['methods'][string]['requestType'] => ({
  encode: (message: Message) => ({ finish: () => toBinary(type, message) }),
  decode: (bytes) => fromBinary(type, bytes),
});

function optionsOf(level: MethodOptions_IdempotencyLevel): Definition['methods'][string]['options'] {
  if (level === MethodOptions_IdempotencyLevel.NO_SIDE_EFFECTS) return { idempotencyLevel: 'NO_SIDE_EFFECTS' };
  return level === MethodOptions_IdempotencyLevel.IDEMPOTENT ? { idempotencyLevel: 'IDEMPOTENT' } : {};
}

/** Reads a protobuf JSON object strictly. @throws UsageError for an unknown field or a value that does not fit */
export function checked(message: DescMessage, json: JsonObject): Message {
  try {
    return fromJson(message, json, { registry: registryOf(message.typeName) });
  } catch (error) {
    throw new UsageError(
      `the request is not a ${message.name}: ${error instanceof Error ? error.message : String(error)}`,
      { cause: error },
    );
  }
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
