import { execFile } from 'node:child_process';
import { once } from 'node:events';
import { createReadStream, readFileSync, writeFileSync } from 'node:fs';
import { promisify } from 'node:util';
import { Client, credentials } from '@grpc/grpc-js';
import type { DataFolder } from '@interlock/local/data-folder.ts';
import type { Scope } from '@interlock/runtime';
import { startBare } from '../bare-process.ts';
import { channelOptions } from '../disk-io/data-client.ts';

/** What a move of a disk is compared with. Each resolves when every byte is on stable storage. */
export interface Floors {
  /** One gRPC stream over TLS to another process, with one fdatasync. */
  stream(): Promise<void>;
  /** `cp`, and `sync` of the copy. */
  copy(): Promise<void>;
}

/** Bytes of a message, as a move has them. */
const messageBytes = 1_048_576;

/** Writes a file with the content, and starts what receives it. */
export const openFloors = async (content: Uint8Array, data: DataFolder, scope: Scope): Promise<Floors> => {
  const [source, received, copied] = ['source', 'received', 'copied'].map((name) => data.path(`evacuate-${name}`));
  if (source === undefined || received === undefined || copied === undefined) throw new Error('three files are named');
  writeFileSync(source, content);
  const entry = new URL('./bare-receiver.ts', import.meta.url);
  const { address, authorityFile } = await startBare(entry, [received], data, scope);
  const client = new Client(address, credentials.createSsl(readFileSync(authorityFile)), {
    ...channelOptions,
    'grpc.ssl_target_name_override': 'localhost',
  });
  scope.defer('client of the floor', () => client.close());
  const run = promisify(execFile);
  return {
    stream: () => send(client, source),
    async copy() {
      await run('cp', ['--reflink=never', source, copied]);
      await run('sync', ['--data', copied]);
    },
  };
};

const unchanged = (bytes: Buffer): Buffer => bytes;

const send = async (client: Client, source: string): Promise<void> => {
  const received = Promise.withResolvers<void>();
  const call = client.makeClientStreamRequest('/bare/Receive', unchanged, unchanged, (error) =>
    error ? received.reject(error) : received.resolve(),
  );
  // The callback has the failure already.
  call.on('error', () => undefined);
  for await (const bytes of createReadStream(source, { highWaterMark: messageBytes }))
    if (!call.write(bytes)) await Promise.race([once(call, 'drain'), received.promise]);
  call.end();
  await received.promise;
};
