import { readFileSync } from 'node:fs';
import { Client, credentials, Metadata } from '@grpc/grpc-js';
import { ReadRequest, WriteRequest, WriteResponse } from '@interlock/contracts/interlock/disk/v1/data.ts';
import { fieldHead, fieldLength, readDataTag, writeDataTag } from './wire.ts';

/** Largest message of both ends: a piece of 1 MiB and its fields. */
const messageBytesMax = 2 * 1024 * 1024 + 64 * 1024;

/** grpc-js options of both ends, as the disk service has them. */
export const channelOptions = {
  'grpc-node.flow_control_window': 1024 * 1024,
  'grpc.max_receive_message_length': messageBytesMax,
  'grpc.max_send_message_length': messageBytesMax,
};

/** A disk with direct access. */
export interface DataTarget {
  /** `host:port` */
  readonly address: string;
  /** PEM file of the authority of the server's certificate. */
  readonly authorityFile: string;
  /** Full name of the disk and token of the access; any text for the bare server. */
  readonly disk: string;
  readonly accessToken: string;
}

/** Reads and writes over bare grpc-js; counts received bytes without copying them. */
export interface DataClient {
  /** @throws Error unless exactly `length` bytes arrive */
  read(offset: number, length: number): Promise<void>;
  write(offset: number, data: Uint8Array): Promise<void>;
  close(): void;
}

const service = '/interlock.disk.v1.DiskDataService';
const deadlineMs = 60_000;

/** The same client for the disk service and the bare server. */
export const openDataClient = ({ address, authorityFile, disk, accessToken }: DataTarget): DataClient => {
  const client = new Client(address, credentials.createSsl(readFileSync(authorityFile)), {
    ...channelOptions,
    // TLS accepts no IP address as a server name; the certificate is for both.
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
          (bytes: Buffer) => fieldLength(readDataTag, bytes),
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
          else reject(new Error(`read ${received} of ${lengthBytes} bytes`));
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
          (error, response) => {
            if (error) reject(error);
            else if (response?.writtenBytes === data.length) resolve();
            else reject(new Error(`wrote ${response?.writtenBytes} of ${data.length} bytes`));
          },
        );
        // The callback gets the same error.
        call.on('error', () => undefined);
        call.write({ header: { name: disk, offsetBytes }, data });
        call.end();
      }),
    close: () => client.close(),
  };
};

const noData = Buffer.alloc(0);
/** A `WriteRequest` with one copy of its data. */
const writeMessage = ({ header, data }: WriteRequest): Buffer =>
  Buffer.concat([WriteRequest.encode({ header, data: noData }).finish(), fieldHead(writeDataTag, data.length), data]);
