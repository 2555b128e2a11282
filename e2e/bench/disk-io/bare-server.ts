import { readFileSync } from 'node:fs';
import type { ServerReadableStream } from '@grpc/grpc-js';
import { Server, ServerCredentials, type ServerWritableStream, type sendUnaryData } from '@grpc/grpc-js';
import { ReadRequest, WriteResponse } from '@interlock/contracts/interlock/disk/v1/data.ts';
import { channelOptions } from './data-client.ts';

/**
 * The floor of `disk-io`, as a process of its own: the methods Read and Write of DiskDataService over bare grpc-js, with
 * neither disk nor cipher, token, span or deadline. What is read was encoded beforehand, what is written is not looked at.
 * Arguments: file of the certificate, file of its key, bytes of data a message. Prints its port.
 */
const [, , certificateFile = '', keyFile = '', messageBytes = ''] = process.argv;
const pieceBytes = Number(messageBytes);

/** A `ReadResponse` of each length asked for. */
const messages = new Map<number, Buffer>();
const messageOf = (length: number): Buffer => {
  const known = messages.get(length);
  if (known) return known;
  const head = [0x0a];
  let rest = length;
  for (; rest >= 128; rest >>>= 7) head.push((rest & 127) | 128);
  const message = Buffer.concat([Buffer.from([...head, rest]), Buffer.alloc(length, 0x5a)]);
  messages.set(length, message);
  return message;
};

const read = (call: ServerWritableStream<ReadRequest, Buffer>): void => {
  let left = call.request.lengthBytes;
  const send = (): void => {
    while (left > 0) {
      const length = Math.min(left, pieceBytes);
      left -= length;
      if (!call.write(messageOf(length))) {
        call.once('drain', send);
        return;
      }
    }
    call.end();
  };
  send();
};

const write = (call: ServerReadableStream<number, WriteResponse>, answer: sendUnaryData<WriteResponse>): void => {
  let writtenBytes = 0;
  call.on('data', (length: number) => {
    writtenBytes += length;
  });
  call.on('end', () => answer(null, { writtenBytes }));
};

/** Bytes of data in a `WriteRequest`: what follows its header. */
const dataLengthOf = (bytes: Buffer): number => {
  let at = 0;
  while (at < bytes.length) {
    const field = bytes[at];
    let length = 0;
    let shift = 0;
    for (at += 1; ; at += 1, shift += 7) {
      const byte = bytes[at] ?? 0;
      length += (byte & 127) * 2 ** shift;
      if (byte < 128) break;
    }
    if (field === 0x12) return length;
    at += 1 + length;
  }
  return 0;
};

const path = (method: string) => `/interlock.disk.v1.DiskDataService/${method}`;
const same = (message: Buffer): Buffer => message;
const server = new Server(channelOptions);
server.addService(
  {
    read: {
      path: path('Read'),
      requestStream: false,
      responseStream: true,
      requestSerialize: (request: ReadRequest) => Buffer.from(ReadRequest.encode(request).finish()),
      requestDeserialize: (bytes: Buffer) => ReadRequest.decode(bytes),
      responseSerialize: same,
      responseDeserialize: same,
    },
    write: {
      path: path('Write'),
      requestStream: true,
      responseStream: false,
      requestSerialize: same,
      requestDeserialize: dataLengthOf,
      responseSerialize: (answer: WriteResponse) => Buffer.from(WriteResponse.encode(answer).finish()),
      responseDeserialize: (bytes: Buffer) => WriteResponse.decode(bytes),
    },
  },
  { read, write },
);
const credentials = ServerCredentials.createSsl(null, [
  { cert_chain: readFileSync(certificateFile), private_key: readFileSync(keyFile) },
]);
server.bindAsync('127.0.0.1:0', credentials, (error, port) => {
  if (error) throw error;
  console.log(port);
});
