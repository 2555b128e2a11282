import { type DataAccess, flush, readSomething, writeSomething } from '../workload/io.ts';
import type { Stage } from '../workload/stage.ts';
import type { Action } from './action.ts';

/** A disk of a guest that runs now, as the guest has it. */
export const guestAccess = ({ world, random }: Stage): DataAccess | undefined => {
  const guests = world.guests.all();
  if (guests.length === 0) return undefined;
  const { vm, disks, run, host } = random.pick(guests);
  if (disks.length === 0) return undefined;
  const { disk, dataAddress: address, accessToken: token } = random.pick(disks);
  return { disk, address, token, by: 'machine', who: vm, ...(host === undefined ? {} : { run }) };
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
