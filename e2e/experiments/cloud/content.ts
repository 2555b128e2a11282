import type { ContentRecord } from '@interlock/lab';
import type { History } from '@interlock/lab/judge/journal/history';
import { expectedPlaces, mismatches, type Place } from '@interlock/lab/judge/journal/records';
import type { ClientTls } from '@interlock/rpc';
import type { Clients } from '../../cloud/clients.ts';
import { type DataPath, openDataPath } from '../../cloud/data-path.ts';

/** Longest read of a call, in bytes. */
const pieceBytes = 1024 ** 2;

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
  const dataPath = openDataPath(tls);
  const sum = { disksCompared: 0, bytesCompared: 0, bytesLost: 0 };
  try {
    for (const name of names) {
      const places = expectedPlaces(history, name);
      if (places.length === 0) continue;
      const bytes = places.reduce((total, { length }) => total + length, 0);
      sum.disksCompared += 1;
      sum.bytesCompared += bytes;
      sum.bytesLost += await lostBytes(dataPath, { disks }, name, places).catch((error: unknown) => {
        if (isKeyLost(error)) return bytes;
        throw error;
      });
    }
    return sum;
  } finally {
    dataPath.close();
  }
};

/** Whether a disk was refused because its key cannot be used: a purged key takes its data with it. */
const isKeyLost = (error: unknown): boolean =>
  /^(KEY_(?!VAULT_UNREACHABLE)|VAULT_|ACCESS_DENIED|IDENTITY_)/.test(String(Object(error).reason));

const lostBytes = (
  dataPath: DataPath,
  user: Pick<Clients, 'disks'>,
  name: string,
  places: readonly Place[],
): Promise<number> =>
  dataPath.reading(user, name, async (read) => {
    let lost = 0;
    for (const { from, length, inside } of piecesOf(places)) {
      const bytes = await read(from, length);
      for (const place of inside)
        lost +=
          mismatches(name, place, bytes.subarray(place.offset - from, place.offset - from + place.length)) * 4_096;
    }
    return lost;
  });

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
