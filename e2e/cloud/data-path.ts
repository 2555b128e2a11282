import { DiskDataServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { type Channel, type ClientTls, connect, openChannel } from '@interlock/rpc';
import { systemClock, systemRandom } from '@interlock/runtime';
import { type Tracer, trace } from '@opentelemetry/api';
import { Metadata } from 'nice-grpc-common';
import type { Clients } from './clients.ts';

type Owner = Pick<Clients, 'disks'>;

/** Reads a range of a disk: bytes. */
export type ReadRange = (offset: number, length: number) => Promise<Buffer>;

/** Reads and writes disks directly, as their user does while no machine runs on them. */
export interface DataPath {
  write(user: Owner, disk: string, offset: number, bytes: Uint8Array): Promise<void>;
  read(user: Owner, disk: string, offset: number, length: number): Promise<Buffer>;
  /** Reads several ranges under one access to the disk, which lasts as long as `work`, at most 5 minutes. */
  reading<Result>(user: Owner, disk: string, work: (read: ReadRange) => Promise<Result>): Promise<Result>;
  close(): void;
}

/** How long the access to a disk may last, in seconds. */
const accessSeconds = 300;

/**
 * Opens it. Each disk host gets its own channel.
 * @param reachedAt the address at which a host is reached from here, if not at its own
 */
export const openDataPath = (
  tls: ClientTls,
  tracer: Tracer = trace.getTracer('data path'),
  reachedAt: (address: string) => string = (address) => address,
): DataPath => {
  const channels = new Map<string, Channel>();
  const clientAt = (address: string) => {
    const channel = channels.get(address) ?? openChannel({ address: reachedAt(address), tls });
    channels.set(address, channel);
    const definition = DiskDataServiceDefinition;
    const [clock, random] = [systemClock, systemRandom];
    // The access token of the disk is enough: a user's credentials are not needed.
    return connect({ channel, definition, credentials: undefined, audience: 'interlock:disk', clock, random, tracer });
  };
  const withAccess = async <Result>(
    { disks }: Owner,
    name: string,
    accessLevel: 'READ' | 'WRITE',
    work: (client: ReturnType<typeof clientAt>, metadata: Metadata) => Promise<Result>,
  ): Promise<Result> => {
    const access = await disks.beginAccess({ name, accessLevel, durationSeconds: accessSeconds });
    try {
      return await work(clientAt(access.dataAddress), Metadata().set('x-interlock-disk-access', access.accessToken));
    } finally {
      await disks.endAccess({ name });
    }
  };
  const reading: DataPath['reading'] = (user, name, work) =>
    withAccess(user, name, 'READ', (client, metadata) =>
      work(async (offsetBytes, lengthBytes) => {
        const pieces: Uint8Array[] = [];
        for await (const { data } of client.read({ name, offsetBytes, lengthBytes }, { metadata })) pieces.push(data);
        return Buffer.concat(pieces);
      }),
    );
  return {
    reading,
    read: (user, name, offset, length) => reading(user, name, (read) => read(offset, length)),
    write: (user, name, offset, bytes) =>
      withAccess(user, name, 'WRITE', async (client, metadata) => {
        const pieces = async function* () {
          yield { header: { name, offsetBytes: offset }, data: bytes };
        };
        await client.write(pieces(), { metadata });
      }),
    close: () => {
      for (const channel of channels.values()) channel.close();
    },
  };
};
