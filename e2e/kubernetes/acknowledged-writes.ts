import { type GuestFolder, openHistory } from '@interlock/lab/judge/journal/history';
import { expectedPlaces, mismatches } from '@interlock/lab/judge/journal/records';
import type { Clients } from '../cloud/clients.ts';
import type { DataPath } from '../cloud/data-path.ts';

/** What a check of disks found. */
export interface WritesFound {
  readonly disks: number;
  /** Acknowledged writes in the journals. */
  readonly writes: number;
  /** Bytes that were read back. */
  readonly bytes: number;
  /** A line for each place that holds something else than what was acknowledged last. */
  readonly lost: readonly string[];
}

/**
 * Reads back what guests wrote and what was acknowledged, as the user of the disks. Their machines must be deallocated.
 * @param folders the guests of each host that a machine had: their journals say what was acknowledged
 * @param disks of each machine, by full names
 */
export const readBack = async (
  { clients, data }: { readonly clients: Clients; readonly data: DataPath },
  folders: readonly GuestFolder[],
  disks: ReadonlyMap<string, readonly string[]>,
): Promise<WritesFound> => {
  const lost: string[] = [];
  let [writes, bytes] = [0, 0];
  for (const [machine, names] of disks) {
    const journal = openHistory(folders, [machine])();
    for (const disk of names) {
      const places = expectedPlaces(journal, disk);
      writes += journal.filter((io) => io.disk === disk && io.op === 'write' && io.ok).length;
      await data.reading(clients, disk, async (read) => {
        for (const place of places) {
          const found = await read(place.offset, place.length);
          bytes += found.length;
          if (mismatches(disk, place, found) > 0) lost.push(`${disk} at ${place.offset}`);
        }
      });
    }
  }
  return { disks: [...disks.values()].flat().length, writes, bytes, lost };
};
