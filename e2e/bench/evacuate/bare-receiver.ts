import { closeSync, fdatasyncSync, openSync, readFileSync, writeSync } from 'node:fs';
import { Server, ServerCredentials, type ServerReadableStream, type sendUnaryData } from '@grpc/grpc-js';
import { channelOptions } from '../disk-io/data-client.ts';

/**
 * The floor of `evacuate`, in its own process: one client stream of bytes over bare grpc-js, written to a file, and one fdatasync
 * before the response. Arguments: certificate file, key file, the file. Prints its port.
 */
const [, , certificateFile = '', keyFile = '', path = ''] = process.argv;

const unchanged = (bytes: Buffer): Buffer => bytes;

const receive = (call: ServerReadableStream<Buffer, Buffer>, respond: sendUnaryData<Buffer>): void => {
  const file = openSync(path, 'w');
  call.on('data', (bytes: Buffer) => writeSync(file, bytes));
  call.on('end', () => {
    fdatasyncSync(file);
    closeSync(file);
    respond(null, Buffer.alloc(0));
  });
};

const server = new Server(channelOptions);
server.addService(
  {
    receive: {
      path: '/bare/Receive',
      requestStream: true,
      responseStream: false,
      requestSerialize: unchanged,
      requestDeserialize: unchanged,
      responseSerialize: unchanged,
      responseDeserialize: unchanged,
    },
  },
  { receive },
);
const credentials = ServerCredentials.createSsl(null, [
  { cert_chain: readFileSync(certificateFile), private_key: readFileSync(keyFile) },
]);
server.bindAsync('127.0.0.1:0', credentials, (error, port) => {
  if (error) throw error;
  console.log(port);
});
