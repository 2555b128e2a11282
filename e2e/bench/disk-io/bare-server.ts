import { readFileSync } from 'node:fs';
import {
  Server,
  ServerCredentials,
  type ServerReadableStream,
  type ServerWritableStream,
  type sendUnaryData,
} from '@grpc/grpc-js';
import { ReadRequest, WriteResponse } from '@interlock/contracts/interlock/disk/v1/data.ts';
import { channelOptions } from './data-client.ts';
import { fieldHead, fieldLength, readDataTag, writeDataTag } from './wire.ts';

/**
 * The floor of `disk-io`, in its own process: Read and Write of DiskDataService over bare grpc-js, without disk, cipher,
 * token, span or deadline. Arguments: certificate file, key file, data bytes a message. Prints its port.
 */
const [, , certificateFile = '', keyFile = '', messageBytes = ''] = process.argv;
const pieceBytes = Number(messageBytes);

/** An encoded `ReadResponse` of each length. */
const messages = new Map<number, Buffer>();
const messageOf = (length: number): Buffer => {
  const message = messages.get(length) ?? Buffer.concat([fieldHead(readDataTag, length), Buffer.alloc(length, 0x5a)]);
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

const write = (call: ServerReadableStream<number, WriteResponse>, respond: sendUnaryData<WriteResponse>): void => {
  let writtenBytes = 0;
  call.on('data', (length: number) => {
    writtenBytes += length;
  });
  call.on('end', () => respond(null, { writtenBytes }));
};

const unchanged = (message: Buffer): Buffer => message;
const server = new Server(channelOptions);
server.addService(
  {
    read: {
      path: '/interlock.disk.v1.DiskDataService/Read',
      requestStream: false,
      responseStream: true,
      requestSerialize: (request: ReadRequest) => Buffer.from(ReadRequest.encode(request).finish()),
      requestDeserialize: (bytes: Buffer) => ReadRequest.decode(bytes),
      responseSerialize: unchanged,
      responseDeserialize: unchanged,
    },
    write: {
      path: '/interlock.disk.v1.DiskDataService/Write',
      requestStream: true,
      responseStream: false,
      requestSerialize: unchanged,
      requestDeserialize: (bytes: Buffer) => fieldLength(writeDataTag, bytes),
      responseSerialize: (response: WriteResponse) => Buffer.from(WriteResponse.encode(response).finish()),
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
