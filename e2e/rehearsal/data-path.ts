import { DiskDataServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { type Channel, connect, openChannel } from '@interlock/rpc';
import { type Clock, type Random, systemClock, systemRandom } from '@interlock/runtime';
import type { Tracer } from '@opentelemetry/api';
import { Metadata } from 'nice-grpc-common';
import { type Clients, type OutsideOf, tlsInto } from '../cloud/clients.ts';

/** Reads and writes disks directly, as their user does while no machine runs on them. */
export interface DataPath {
  write(user: Clients, disk: string, offset: number, bytes: Uint8Array): Promise<void>;
  read(user: Clients, disk: string, offset: number, length: number): Promise<Uint8Array>;
  close(): void;
}

/** Opens it. Each disk host gets its own channel. */
export const openDataPath = (
  cloud: OutsideOf,
  tracer: Tracer,
  clock: Clock = systemClock,
  random: Random = systemRandom,
): DataPath => {
  const tls = tlsInto(cloud);
  const channels = new Map<string, Channel>();
  const clientAt = (address: string) => {
    const channel = channels.get(address) ?? openChannel({ address, tls });
    channels.set(address, channel);
    const definition = DiskDataServiceDefinition;
    // The access token of the disk is enough: a user's credentials are not needed.
    return connect({ channel, definition, credentials: undefined, audience: 'interlock:disk', clock, random, tracer });
  };
  const withAccess = async <Result>(
    { disks }: Clients,
    name: string,
    accessLevel: 'READ' | 'WRITE',
    work: (client: ReturnType<typeof clientAt>, metadata: Metadata) => Promise<Result>,
  ): Promise<Result> => {
    const access = await disks.beginAccess({ name, accessLevel, durationSeconds: 60 });
    try {
      return await work(clientAt(access.dataAddress), Metadata().set('x-interlock-disk-access', access.accessToken));
    } finally {
      await disks.endAccess({ name });
    }
  };
  return {
    write: (user, name, offset, bytes) =>
      withAccess(user, name, 'WRITE', async (client, metadata) => {
        const pieces = async function* () {
          yield { header: { name, offsetBytes: offset }, data: bytes };
        };
        await client.write(pieces(), { metadata });
      }),
    read: (user, name, offset, length) =>
      withAccess(user, name, 'READ', async (client, metadata) => {
        const pieces: Uint8Array[] = [];
        for await (const { data } of client.read({ name, offsetBytes: offset, lengthBytes: length }, { metadata })) {
          pieces.push(Uint8Array.from(data));
        }
        return Buffer.concat(pieces);
      }),
    close: () => {
      for (const channel of channels.values()) channel.close();
    },
  };
};
