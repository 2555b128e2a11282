import { type DataAccess, flush, readSomething, writeSomething } from '../workload/io.ts';
import type { Stage } from '../workload/stage.ts';
import type { Action } from './action.ts';

/** The disks that guests have now, as the guests have them. @param disk only this one */
const accesses = ({ world }: Stage, disk?: string): readonly DataAccess[] =>
  world.guests.all().flatMap(({ vm, disks, run, host }) =>
    disks
      .filter((one) => disk === undefined || one.disk === disk)
      .map(({ disk: name, dataAddress: address, accessToken: token }) => ({
        ...{ disk: name, address, token, who: vm },
        ...({ by: 'machine' } as const),
        ...(host === undefined ? {} : { run }),
      })),
  );

/** A disk of a guest that runs now. */
export const guestAccess = (stage: Stage): DataAccess | undefined => {
  const found = accesses(stage);
  return found.length === 0 ? undefined : stage.random.pick(found);
};

/** Writes of a busy guest, one after the other, and the longest pause between two, in milliseconds. */
const [busyWrites, busyPauseMs] = [12, 60];

/** The guest of a disk writes to it without rest for a moment. Does nothing if none has the disk. */
export const writeBusily = async (stage: Stage, disk: string): Promise<void> => {
  for (let n = 0; n < busyWrites && !stage.isEnding(); n += 1) {
    const [access] = accesses(stage, disk);
    if (!access) return;
    await writeSomething(stage, access);
    await stage.world.clock.sleep(stage.random.fraction() * busyPauseMs);
  }
};

const byGuest = (
  name: string,
  weight: number,
  work: (stage: Stage, access: DataAccess) => Promise<unknown>,
): Action => ({
  name,
  weight,
  async run(stage) {
    const access = guestAccess(stage);
    if (access) await work(stage, access);
  },
});

/** What guests do with their disks: two of three actions. Owners and operators act in between. */
export const dataActions: readonly Action[] = [
  byGuest('write', 52, writeSomething),
  byGuest('read', 48, readSomething),
  byGuest('flush', 12, flush),
];
