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

/** Every RPC of every service, read from the descriptors; those of MessagingService once for each service. */
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

/** What came of a call. */
export interface Outcome {
  /** Name of the gRPC status. */
  readonly code: string;
  readonly details: string;
}

export interface Sender {
  /** Sends these messages, takes at most a few answers, and adds what they name to the known values. Never throws. */
  send(target: FuzzedMethod, messages: readonly Uint8Array[], sent: Sent): Promise<Outcome>;
  close(): void;
}

/** What goes with the messages. */
export interface Sent {
  /** The first message before it was made malformed, if its values belong to those of the answer. */
  readonly request: ReflectMessage | undefined;
  /** Bearer token; absent for an anonymous caller. */
  readonly token: string | undefined;
  /** Access token of a disk. */
  readonly diskAccess: string | undefined;
}

/** How long a call may take, in milliseconds. */
const DEADLINE_MS = 3_000;
/** How long a watch is watched, in milliseconds. */
const WATCH_MS = 200;

const asItIs = (bytes: Buffer): Buffer => bytes;

/** Calls the services with raw bytes: no client of ours stands between, so nothing is corrected on the way. */
export const openSender = (
  addresses: Readonly<Record<ServiceName, string>>,
  authority: Buffer,
  known: KnownValues,
  protectedIds: readonly string[],
): Sender => {
  const clients = new Map<ServiceName, Client>();
  const clientOf = (service: ServiceName): Client => {
    const client = clients.get(service) ?? new Client(addresses[service], credentials.createSsl(authority));
    clients.set(service, client);
    return client;
  };
  const learn = ({ output }: DescMethod, request: ReflectMessage | undefined, bytes: Uint8Array): void => {
    for (const record of recordsOf(request, reflect(output, fromBinary(output, bytes)), protectedIds)) {
      known.addRecord(record);
    }
  };
  return {
    send: ({ service, path, method }, messages, { request, token, diskAccess }) => {
      const metadata = new Metadata();
      if (token !== undefined) metadata.set('authorization', `Bearer ${token}`);
      if (diskAccess !== undefined) metadata.set('x-interlock-disk-access', diskAccess);
      const client = clientOf(service);
      const options = { deadline: Date.now() + DEADLINE_MS };
      const outcome = Promise.withResolvers<Outcome>();
      const ended = (error: { code: status; details: string } | null): void =>
        outcome.resolve({
          code: error === null ? 'OK' : (status[error.code] ?? String(error.code)),
          details: error?.details ?? '',
        });
      const first = Buffer.from(messages[0] ?? []);
      const full = `/${path}`;
      const answered = (error: Parameters<typeof ended>[0], answer?: Buffer): void => {
        if (answer !== undefined) learn(method, request, answer);
        ended(error);
      };
      if (method.methodKind === 'unary')
        client.makeUnaryRequest(full, asItIs, asItIs, first, metadata, options, answered);
      else if (method.methodKind === 'client_streaming') {
        const call = client.makeClientStreamRequest(full, asItIs, asItIs, metadata, options, answered);
        for (const message of messages) call.write(Buffer.from(message));
        call.end();
      } else {
        const call = client.makeServerStreamRequest(full, asItIs, asItIs, first, metadata, options);
        let answers = 0;
        const enough = setTimeout(() => call.cancel(), WATCH_MS);
        call.on('data', (answer: Buffer) => {
          answers += 1;
          learn(method, request, answer);
        });
        call.on('error', () => undefined);
        call.on('status', (end) => {
          clearTimeout(enough);
          // A watch ends when its caller is gone: it succeeded if it answered before.
          const isWatched = end.code === status.CANCELLED && answers > 0;
          ended(end.code === status.OK || isWatched ? null : end);
        });
      }
      return outcome.promise;
    },
    close: () => {
      for (const client of clients.values()) client.close();
    },
  };
};

/** A message as JSON, for a report: bytes and large numbers as text. */
export const shown = (message: Message): string =>
  JSON.stringify(message, (key, value: unknown) => {
    if (key === '$typeName') return undefined;
    if (typeof value === 'bigint') return String(value);
    if (value instanceof Uint8Array) return `${value.length} bytes`;
    if (typeof value === 'string' && value.length > 200) return `${value.slice(0, 40)}… (${value.length} characters)`;
    return value;
  });
