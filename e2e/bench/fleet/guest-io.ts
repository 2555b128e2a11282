import { setTimeout as sleep } from 'node:timers/promises';
import { DiskDataServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import { Rejection } from '@interlock/event-store';
import type { LocalCloud } from '@interlock/local/local-cloud.ts';
import { connect, openChannel } from '@interlock/rpc';
import { type Scope, systemClock, systemRandom } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { Metadata } from 'nice-grpc-common';
import { type Clients, tlsInto } from '../../cloud/clients.ts';
import { until } from '../../cloud/until.ts';
import { fleetLocation } from './plan.ts';
import type { FleetWorld } from './world.ts';

/** Reads and writes of disks under the key that is going to be lost. */
export interface GuestIo {
  /** Begins to read and write, and resolves once every disk was read and written. */
  begin(): Promise<void>;
  /**
   * Resolves once reads and writes of every disk are refused.
   * @returns when the last one that succeeded was acknowledged, by `performance.now()`
   */
  end(): Promise<{ readonly lastRead: number; readonly lastWrite: number }>;
}

const ioBytes = 4_096;
/** Pause between two rounds of a disk, in ms: shows the end to within that, and leaves the cores to what is measured. */
const pauseMs = 200;
/**
 * The same of a disk that was refused: its machine is being stopped, and a guest that is off asks for nothing. It is looked
 * at all the same, so that one that could be read again would show; as often as before, fifty of them would take an eighth
 * of two cores from what is measured.
 */
const refusedPauseMs = 1_000;
/** Disks made at once. */
const makersMax = 8;

interface Track {
  lastRead: number;
  lastWrite: number;
  /** Whether the last round was refused because of the key. */
  isRefused: boolean;
  /** Whether it has succeeded since the beginning. */
  hasBegun: boolean;
}

/**
 * Disks of their own under the sets of a fleet that lose their key, read and written over the data path as guests do. The
 * machines of the fleet have none, so this is what tells when the data was out of reach.
 */
export const openGuestIo = async (
  { cloud, clients, world }: { readonly cloud: LocalCloud; readonly clients: Clients; readonly world: FleetWorld },
  count: number,
  scope: Scope,
): Promise<GuestIo> => {
  const tracks: Track[] = [];
  const ending = new AbortController();
  scope.defer('guest I/O', () => ending.abort());
  let isWatching = false;

  const openOne = async (n: number): Promise<void> => {
    const set = world.lost[n % world.lost.length] ?? world.lost[0];
    const { name } = await clients.disks.createDisk({
      parent: world.group,
      diskId: `guest-${n}`,
      location: fleetLocation,
      sku: 'PREMIUM_SSD',
      sizeGib: 1,
      encryption: { type: 'ENCRYPTION_AT_REST_WITH_CUSTOMER_KEY', diskEncryptionSet: set.name },
    });
    const access = await clients.disks.beginAccess({ name, accessLevel: 'WRITE', durationSeconds: 3_600 });
    const data = dataClient(cloud, access.dataAddress, scope);
    const metadata = Metadata().set('x-interlock-disk-access', access.accessToken);
    const track: Track = { lastRead: 0, lastWrite: 0, isRefused: false, hasBegun: false };
    tracks.push(track);
    const offsetBytes = 0;
    const once = async (): Promise<void> => {
      const content = Buffer.from(systemRandom.bytes(ioBytes));
      await data.write(
        (async function* () {
          yield { header: { name, offsetBytes }, data: content };
        })(),
        { metadata },
      );
      track.lastWrite = performance.now();
      const pieces: Uint8Array[] = [];
      for await (const piece of data.read({ name, offsetBytes, lengthBytes: ioBytes }, { metadata }))
        pieces.push(Uint8Array.from(piece.data));
      if (!Buffer.concat(pieces).equals(content)) throw new Error(`${name} does not hold what was written to it`);
      track.lastRead = performance.now();
      track.hasBegun = true;
      track.isRefused = false;
    };
    void (async () => {
      while (!ending.signal.aborted) {
        try {
          if (isWatching) await once();
        } catch (error) {
          if (ending.signal.aborted) return;
          if (!(error instanceof Rejection && error.reason === 'KEY_DISABLED')) failures.push(error);
          track.isRefused = true;
        }
        await sleep(isWatching && track.isRefused ? refusedPauseMs : pauseMs);
      }
    })();
  };
  const failures: unknown[] = [];
  let next = 0;
  const making = async (): Promise<void> => {
    while (next < count) await openOne(next++);
  };
  await Promise.all(Array.from({ length: Math.min(makersMax, count) }, making));

  const untilAll = (what: string, is: (track: Track) => boolean): Promise<unknown> =>
    until(
      what,
      async () => {
        if (failures.length > 0)
          throw new Error('a guest failed for another reason than its key', { cause: failures[0] });
        return tracks.every(is);
      },
      60_000,
    );
  return {
    async begin() {
      for (const track of tracks) track.hasBegun = false;
      isWatching = true;
      // Until the key was heard to be back, what is refused is no failure.
      await untilAll('every disk is read and written', ({ hasBegun }) => hasBegun);
    },
    async end() {
      await untilAll('every read and write is refused', ({ isRefused }) => isRefused);
      isWatching = false;
      const latest = (of: (track: Track) => number): number => Math.max(...tracks.map(of));
      return { lastRead: latest(({ lastRead }) => lastRead), lastWrite: latest(({ lastWrite }) => lastWrite) };
    },
  };
};

const dataClient = (cloud: LocalCloud, address: string, scope: Scope) => {
  const channel = openChannel({ address, tls: tlsInto(cloud) });
  scope.defer('data of a guest', async () => channel.close());
  return connect({
    channel,
    definition: DiskDataServiceDefinition,
    credentials: undefined,
    audience: 'interlock:disk',
    clock: systemClock,
    random: systemRandom,
    tracer: trace.getTracer('guest'),
  });
};
