import { readFileSync } from 'node:fs';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import { ReadRequest, WriteRequest, WriteResponse } from '@interlock/contracts/interlock/disk/v1/data.ts';

/** HTTP/2 window of both ends, in bytes, as the disk service has it. */
export const windowBytes = 1024 * 1024;

/** Largest message of both ends: a piece of 1 MiB and its fields. */
export const messageBytesMax = 2 * 1024 * 1024 + 64 * 1024;

/** Options of grpc-js for either end. */
export const channelOptions = {
  'grpc-node.flow_control_window': windowBytes,
  'grpc.max_receive_message_length': messageBytesMax,
  'grpc.max_send_message_length': messageBytesMax,
};

/** Where the data of a disk is served, and as what. */
export interface DataTarget {
  /** `host:port`. */
  readonly address: string;
  /** PEM file of the authority of its certificate. */
  readonly authorityFile: string;
  /** Full name of the disk, and the token of an access to it; anything for the bare server. */
  readonly disk: string;
  readonly accessToken: string;
}

/** Reads and writes as the wire has them, by grpc-js and nothing above it; what is received is counted and not copied. */
export interface DataClient {
  /** @throws Error unless exactly `length` bytes arrive */
  read(offset: number, length: number): Promise<void>;
  write(offset: number, data: Uint8Array): Promise<void>;
  close(): void;
}

const service = '/interlock.disk.v1.DiskDataService';
const deadlineMs = 60_000;

/** Opens a client. The same one is used against the disk service and against the bare server. */
export const openDataClient = ({ address, authorityFile, disk, accessToken }: DataTarget): DataClient => {
  const client = new Client(address, credentials.createSsl(readFileSync(authorityFile)), {
    ...channelOptions,
    // An IP address is no name TLS may ask for; the certificate is for both.
    'grpc.ssl_target_name_override': 'localhost',
  });
  const metadata = () => {
    const entries = new Metadata();
    entries.set('x-interlock-disk-access', accessToken);
    entries.set('x-interlock-timeout-ms', String(deadlineMs));
    return entries;
  };
  const options = () => ({ deadline: Date.now() + deadlineMs });
  return {
    read: (offsetBytes, lengthBytes) =>
      new Promise((resolve, reject) => {
        const call = client.makeServerStreamRequest(
          `${service}/Read`,
          (request: ReadRequest) => Buffer.from(ReadRequest.encode(request).finish()),
          dataLength,
          { name: disk, offsetBytes, lengthBytes },
          metadata(),
          options(),
        );
        let received = 0;
        call.on('data', (length: number) => {
          received += length;
        });
        call.on('error', reject);
        call.on('end', () => {
          if (received === lengthBytes) resolve();
          else reject(new Error(`${received} of ${lengthBytes} bytes arrived`));
        });
      }),
    write: (offsetBytes, data) =>
      new Promise((resolve, reject) => {
        const call = client.makeClientStreamRequest(
          `${service}/Write`,
          writeMessage,
          (bytes: Buffer) => WriteResponse.decode(bytes),
          metadata(),
          options(),
          (error, answer) => {
            if (error) reject(error);
            else if (answer?.writtenBytes === data.length) resolve();
            else reject(new Error(`${answer?.writtenBytes} of ${data.length} bytes were written`));
          },
        );
        // The callback tells of a failure; the stream says it a second time.
        call.on('error', () => undefined);
        call.write({ header: { name: disk, offsetBytes }, data });
        call.end();
      }),
    close: () => client.close(),
  };
};

/** Bytes of data in a `ReadResponse`: tag 0x0a, a varint, the data. */
const dataLength = (bytes: Buffer): number => {
  if (bytes.length === 0) return 0;
  let at = 1;
  while ((bytes[at++] ?? 0) >= 128);
  if (bytes[0] !== 0x0a) throw new Error('this is no ReadResponse');
  return bytes.length - at;
};

/** A `WriteRequest` with one copy of its data. */
const writeMessage = ({ header, data }: WriteRequest): Buffer => {
  const head = WriteRequest.encode({ header, data: Buffer.alloc(0) }).finish();
  const length: number[] = [];
  let rest = data.length;
  for (; rest >= 128; rest >>>= 7) length.push((rest & 127) | 128);
  const message = Buffer.allocUnsafe(head.length + 2 + length.length + data.length);
  message.set(head);
  message.set([0x12, ...length, rest], head.length);
  message.set(data, head.length + 2 + length.length);
  return message;
};
