import { type CloudImage, type Committed, createSimulatedCloud } from '../cloud/simulated-cloud.ts';
import { clientsOf, machineName, makeEstate, plannedMachines, waitUntil } from '../workload/estate.ts';

/** A cloud with an estate whose machines are off, and how it came to be. */
export interface EstateImage {
  readonly cloud: CloudImage;
  /** Everything that was committed, in order. */
  readonly commits: readonly Committed[];
}

/** Every history begins with the same estate: what may differ is what happens to it. */
const seed = 0;
/** It is made an hour before any history begins. */
const startMs = Date.UTC(2026, 0, 1) - 3_600_000;
/** Its spans are told from those of a history, whose numbers never come so far. */
const firstSpan = 2 ** 40;
/** Until everything that was committed has been told, heard and stored. */
const calmMs = 60_000;

const make = async (): Promise<EstateImage> => {
  const world = await createSimulatedCloud({ seed, startMs, firstSpan });
  const commits: Committed[] = [];
  world.onCommit((committed) => commits.push(committed));
  try {
    await world.run(async () => {
      await makeEstate(world);
      const { compute } = clientsOf(world);
      await Promise.all(
        Object.keys(plannedMachines).map((id) => compute.deallocateVirtualMachine({ name: machineName(id) })),
      );
      const isOff = async (id: string): Promise<boolean> =>
        (await compute.getVirtualMachine({ name: machineName(id) })).powerState === 'DEALLOCATED';
      for (const id of Object.keys(plannedMachines)) await waitUntil(world, `${id} is off`, () => isOff(id));
      await world.clock.sleep(calmMs);
    });
    return { cloud: await world.image(), commits };
  } finally {
    world.close();
  }
};

let made: Promise<EstateImage> | undefined;

/**
 * The estate every history begins with. Made once in a process, and the same in each: to make it takes a quarter of the
 * time of a whole history.
 */
export const estateImage = (): Promise<EstateImage> => {
  made ??= make();
  return made;
};
