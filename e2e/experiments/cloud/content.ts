import { DiskDataServiceDefinition } from '@interlock/contracts/interlock/disk/v1/disk.ts';
import type { ContentRecord } from '@interlock/lab';
import type { History } from '@interlock/lab/judge/journal/history';
import { expectedPlaces, mismatches, type Place } from '@interlock/lab/judge/journal/records';
import { type Channel, type ClientTls, connect, openChannel } from '@interlock/rpc';
import { systemClock, systemRandom } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { Metadata } from 'nice-grpc-common';
import type { Clients } from '../../cloud/clients.ts';

/** Longest read of a call, in bytes. */
const pieceBytes = 1024 ** 2;
/** How long the access to a disk may last, in seconds. */
const accessSeconds = 300;

/**
 * Reads every place of the disks to which guests wrote, and compares it with what was acknowledged. Their machines are
 * deallocated. A disk that cannot be read counts as lost.
 */
export const compareDisks = async (
  { disks }: Pick<Clients, 'disks'>,
  tls: ClientTls,
  history: History,
  names: readonly string[],
): Promise<ContentRecord> => {
  const channels = new Map<string, Channel>();
  const sum = { disksCompared: 0, bytesCompared: 0, bytesLost: 0 };
  try {
    for (const name of names) {
      const places = expectedPlaces(history, name);
      if (places.length === 0) continue;
      const bytes = places.reduce((total, { length }) => total + length, 0);
      sum.disksCompared += 1;
      sum.bytesCompared += bytes;
      sum.bytesLost += await lostBytes(disks, { tls, channels, name, places }).catch((error: unknown) => {
        if (isKeyLost(error)) return bytes;
        throw error;
      });
    }
    return sum;
  } finally {
    for (const channel of channels.values()) channel.close();
  }
};

/** Whether a disk was refused because its key cannot be used: a purged key takes its data with it. */
const isKeyLost = (error: unknown): boolean =>
  /^(KEY_(?!VAULT_UNREACHABLE)|VAULT_|ACCESS_DENIED|IDENTITY_)/.test(String(Object(error).reason));

interface Compared {
  readonly tls: ClientTls;
  readonly channels: Map<string, Channel>;
  readonly name: string;
  readonly places: readonly Place[];
}

const lostBytes = async (disks: Clients['disks'], compared: Compared): Promise<number> => {
  const { tls, channels, name, places } = compared;
  const access = await disks.beginAccess({ name, accessLevel: 'READ', durationSeconds: accessSeconds });
  try {
    const channel = channels.get(access.dataAddress) ?? openChannel({ address: access.dataAddress, tls });
    channels.set(access.dataAddress, channel);
    const client = connect({
      channel,
      definition: DiskDataServiceDefinition,
      // The access token of the disk is all that is needed.
      credentials: undefined,
      audience: 'interlock:disk',
      clock: systemClock,
      random: systemRandom,
      tracer: trace.getTracer('experiment'),
    });
    const metadata = Metadata().set('x-interlock-disk-access', access.accessToken);
    let lost = 0;
    for (const { from, length, inside } of piecesOf(places)) {
      const bytes = Buffer.alloc(length);
      let filled = 0;
      for await (const { data } of client.read({ name, offsetBytes: from, lengthBytes: length }, { metadata })) {
        bytes.set(data, filled);
        filled += data.length;
      }
      for (const place of inside)
        lost +=
          mismatches(name, place, bytes.subarray(place.offset - from, place.offset - from + place.length)) * 4_096;
    }
    return lost;
  } finally {
    await disks.endAccess({ name });
  }
};

interface Piece {
  readonly from: number;
  length: number;
  readonly inside: Place[];
}

/** Adjacent places, merged into pieces of at most 1 MiB. */
const piecesOf = (places: readonly Place[]): readonly Piece[] => {
  const pieces: Piece[] = [];
  for (const place of places.toSorted((one, other) => one.offset - other.offset)) {
    const last = pieces.at(-1);
    const end = place.offset + place.length;
    if (last !== undefined && end - last.from <= pieceBytes) {
      last.length = Math.max(last.length, end - last.from);
      last.inside.push(place);
    } else pieces.push({ from: place.offset, length: place.length, inside: [place] });
  }
  return pieces;
};
