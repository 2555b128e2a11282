import { createFileRegistry, type DescMethod, fromBinary, type Message } from '@bufbuild/protobuf';
import { type ReflectMessage, reflect } from '@bufbuild/protobuf/reflect';
import { FileDescriptorSetSchema } from '@bufbuild/protobuf/wkt';
import { Client, credentials, Metadata, status } from '@grpc/grpc-js';
import { fileDescriptorSet } from '@interlock/contracts/descriptors.ts';
import type { ServiceName } from '@interlock/local/services.ts';
import type { KnownValues } from './names.ts';
import { recordsOf } from './records.ts';

/** A method of one of the services. */
export interface FuzzedMethod {
  readonly service: ServiceName;
  /** `interlock.disk.v1.DiskService/GetDisk`. */
  readonly path: string;
  readonly method: DescMethod;
}

const serviceOfPackage: Readonly<Record<string, ServiceName>> = {
  identity: 'identity',
  key_vault: 'key-vault',
  disk_encryption_set: 'disk-encryption-set',
  disk: 'disk',
  compute: 'compute',
};

/** Every RPC of every service, read from the descriptors. Those of MessagingService appear once for each service. */
export const allMethods = (services: readonly ServiceName[]): readonly FuzzedMethod[] => {
  const registry = createFileRegistry(fromBinary(FileDescriptorSetSchema, fileDescriptorSet));
  const found: FuzzedMethod[] = [];
  for (const type of registry) {
    if (type.kind !== 'service') continue;
    const own = serviceOfPackage[type.typeName.split('.')[1] ?? ''];
    for (const method of type.methods) {
      const path = `${type.typeName}/${method.name}`;
      for (const service of own === undefined ? services : [own]) found.push({ service, path, method });
    }
  }
  return found;
};

/** Result of a call. */
export interface Outcome {
  /** Name of the gRPC status. */
  readonly code: string;
  readonly details: string;
}

/** What is sent with the messages. */
export interface Sent {
  /** The first message before it was malformed, if its values belong to those of the response. */
  readonly request: ReflectMessage | undefined;
  /** Bearer token; absent for an anonymous caller. */
  readonly token: string | undefined;
  /** Access token of a disk. */
  readonly diskAccess: string | undefined;
}

/** Deadline of a call. */
const DEADLINE_MS = 3_000;
/** Duration of a watch. */
const WATCH_MS = 200;

const unchanged = (bytes: Buffer): Buffer => bytes;

/** Calls the services with raw bytes, so that no client library corrects them. */
export class Sender {
  readonly #addresses: Readonly<Record<ServiceName, string>>;
  readonly #authority: Buffer;
  readonly #known: KnownValues;
  readonly #protectedIds: readonly string[];
  readonly #clients = new Map<ServiceName, Client>();

  /** @param known receives the values of responses, without messages that name a protected id */
  constructor(
    addresses: Readonly<Record<ServiceName, string>>,
    authority: Buffer,
    known: KnownValues,
    protectedIds: readonly string[],
  ) {
    this.#addresses = addresses;
    this.#authority = authority;
    this.#known = known;
    this.#protectedIds = protectedIds;
  }

  /** Sends messages and receives at most a few responses. Never throws. */
  send(target: FuzzedMethod, messages: readonly Uint8Array[], sent: Sent): Promise<Outcome> {
    const { method } = target;
    const metadata = new Metadata();
    if (sent.token !== undefined) metadata.set('authorization', `Bearer ${sent.token}`);
    if (sent.diskAccess !== undefined) metadata.set('x-interlock-disk-access', sent.diskAccess);
    const client = this.#clientOf(target.service);
    const options = { deadline: Date.now() + DEADLINE_MS };
    const outcome = Promise.withResolvers<Outcome>();
    const end = (error: { code: status; details: string } | null): void =>
      outcome.resolve({
        code: error === null ? 'OK' : (status[error.code] ?? String(error.code)),
        details: error?.details ?? '',
      });
    const first = Buffer.from(messages[0] ?? []);
    const path = `/${target.path}`;
    const respond = (error: Parameters<typeof end>[0], response?: Buffer): void => {
      if (response !== undefined) this.#learn(method, sent.request, response);
      end(error);
    };
    if (method.methodKind === 'unary')
      client.makeUnaryRequest(path, unchanged, unchanged, first, metadata, options, respond);
    else if (method.methodKind === 'client_streaming') {
      const call = client.makeClientStreamRequest(path, unchanged, unchanged, metadata, options, respond);
      for (const message of messages) call.write(Buffer.from(message));
      call.end();
    } else {
      const call = client.makeServerStreamRequest(path, unchanged, unchanged, first, metadata, options);
      let responses = 0;
      const enough = setTimeout(() => call.cancel(), WATCH_MS);
      call.on('data', (response: Buffer) => {
        responses += 1;
        this.#learn(method, sent.request, response);
      });
      call.on('error', () => undefined);
      call.on('status', (final) => {
        clearTimeout(enough);
        // A watch ends when its caller cancels: it succeeded if it responded before.
        const isWatched = final.code === status.CANCELLED && responses > 0;
        end(final.code === status.OK || isWatched ? null : final);
      });
    }
    return outcome.promise;
  }

  close(): void {
    for (const client of this.#clients.values()) client.close();
  }

  #clientOf(service: ServiceName): Client {
    const client =
      this.#clients.get(service) ?? new Client(this.#addresses[service], credentials.createSsl(this.#authority));
    this.#clients.set(service, client);
    return client;
  }

  #learn({ output }: DescMethod, request: ReflectMessage | undefined, bytes: Uint8Array): void {
    const response = reflect(output, fromBinary(output, bytes));
    for (const record of recordsOf(request, response, this.#protectedIds)) this.#known.addRecord(record);
  }
}

/** A message as JSON, for a report: bytes and large numbers as text. */
export const shown = (message: Message): string =>
  JSON.stringify(message, (key, value: unknown) => {
    if (key === '$typeName') return undefined;
    if (typeof value === 'bigint') return String(value);
    if (value instanceof Uint8Array) return `${value.length} bytes`;
    if (typeof value === 'string' && value.length > 200) return `${value.slice(0, 40)}… (${value.length} characters)`;
    return value;
  });
