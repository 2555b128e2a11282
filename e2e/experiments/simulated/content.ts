import type { ContentRecord } from '@interlock/lab';
import { cellBytes, sectorCells } from '@interlock/lab/judge/model/content';
import { type DataAccess, readRange } from '../../simulation/workload/io.ts';
import { sectorsInUse } from '../../simulation/workload/sectors.ts';
import { attempt, type Stage } from '../../simulation/workload/stage.ts';
import { startEverything } from '../../simulation/workload/workload.ts';

/** What a comparison needs of a stage. */
export type ContentStage = Pick<Stage, 'world' | 'clients' | 'log' | 'truth' | 'judge' | 'random' | 'nextNumber'>;

/** Time of the cloud after its disturbances in which a read is repeated that a service could not answer yet, in milliseconds. */
const patienceMs = 60_000;

/** Written bytes of each sector of a disk, by number of the sector. */
const writtenIn = ({ truth }: ContentStage, disk: string): ReadonlyMap<number, number> => {
  const bytes = new Map<number, number>();
  for (const cell of truth.contentOf(disk).written()) {
    const sector = Math.floor(cell / sectorCells);
    bytes.set(sector, (bytes.get(sector) ?? 0) + cellBytes);
  }
  return bytes;
};

/** Opens of the disks that can be read now: those of guests, and direct access to disks whose machine is off. */
const openDisks = async (
  stage: ContentStage,
  disks: readonly string[],
): Promise<ReadonlyMap<string, Pick<DataAccess, 'address' | 'token'>>> => {
  const { world, clients } = stage;
  const opens = new Map<string, Pick<DataAccess, 'address' | 'token'>>();
  for (const [, guestDisks] of world.guests.guests) {
    for (const { disk, dataAddress: address, accessToken: token } of guestDisks) opens.set(disk, { address, token });
  }
  for (const name of disks) {
    if (opens.has(name)) continue;
    const { value } = await attempt(stage, 'disk.export', name, () =>
      clients.disks.beginAccess({ name, accessLevel: 'READ', durationSeconds: 60 }),
    );
    if (value) opens.set(name, { address: value.dataAddress, token: value.accessToken });
  }
  return opens;
};

/**
 * Starts every machine whose keys can be used, and compares all that was acknowledged with what is read. No guest may work
 * at the same time. A read is repeated while the cloud still recovers, as when a lease is not renewed yet. Sectors that differ or
 * cannot be read count as lost, also those under a purged key.
 * @param disks full names
 */
export const compareContent = async (stage: ContentStage, disks: readonly string[]): Promise<ContentRecord> => {
  await startEverything(stage);
  const opens = await openDisks(stage, disks);
  const { clock } = stage.world;
  const untilMs = clock.monotonicMs() + patienceMs;
  let bytesCompared = 0;
  let bytesLost = 0;
  for (const disk of disks) {
    stage.truth.contentOf(disk).endSession();
    let isWrong = false;
    let isUnavailable = false;
    const { judge } = stage;
    const reading: Parameters<typeof readRange>[0] = {
      ...stage,
      judge: {
        onIo: (io) => {
          const { outcome } = io;
          isUnavailable = 'code' in outcome && outcome.code === 'UNAVAILABLE';
          judge.onIo(io);
        },
        onFailure: (action, error) => judge.onFailure(action, error),
        onWrongContent: (name, wrong) => {
          isWrong = true;
          judge.onWrongContent(name, wrong);
        },
      },
    };
    for (const [sector, bytes] of writtenIn(stage, disk)) {
      if (sector >= sectorsInUse) continue;
      const open = opens.get(disk);
      isWrong = false;
      isUnavailable = false;
      const access = { disk, address: '', token: '', ...open, by: 'machine', who: 'the comparison' } as const;
      const range = { first: sector * sectorCells, count: sectorCells };
      const read = async (): Promise<boolean> => open !== undefined && (await readRange(reading, access, range));
      let isRead = await read();
      while (!isRead && isUnavailable && clock.monotonicMs() < untilMs) {
        await clock.sleep(100);
        isRead = await read();
      }
      bytesCompared += bytes;
      if (!isRead || isWrong) bytesLost += bytes;
    }
  }
  return { disksCompared: disks.length, bytesCompared, bytesLost };
};
