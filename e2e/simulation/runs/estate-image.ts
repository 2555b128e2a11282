import type { SimulatedSettings } from '../cloud/deployment.ts';
import {
  type CloudImage,
  type Committed,
  createSimulatedCloud,
  type SimulatedCloud,
} from '../cloud/simulated-cloud.ts';
import { clientsOf, machineName, makeEstate, plannedMachines, waitUntil } from '../workload/estate.ts';

/** A cloud with an estate whose machines are off, and its commits. */
export interface EstateImage {
  readonly cloud: CloudImage;
  /** Everything that was committed, in order. */
  readonly commits: readonly Committed[];
}

/** Every history starts with the same estate. Only what happens to it differs. */
const seed = 0;
/** It is created an hour before the start of every history. */
const startMs = Date.UTC(2026, 0, 1) - 3_600_000;
/** Its spans have higher numbers than those of any history. */
const firstSpan = 2 ** 40;
/** How long it takes until everything that was committed is published, consumed and stored. */
const calmMs = 60_000;

/** Creates an estate in an empty world, and an image of it with all of its machines off. */
export const makeImage = async <Made>(
  settings: Partial<SimulatedSettings>,
  make: (world: SimulatedCloud) => Promise<{ readonly made: Made; readonly machines: readonly string[] }>,
  diskHosts = 0,
): Promise<EstateImage & { readonly made: Made }> => {
  const world = await createSimulatedCloud({ seed, startMs, firstSpan, settings, diskHosts });
  const commits: Committed[] = [];
  world.onCommit((committed) => commits.push(committed));
  try {
    const made = await world.run(async () => {
      const estate = await make(world);
      const { compute } = clientsOf(world);
      await Promise.all(estate.machines.map((name) => compute.deallocateVirtualMachine({ name })));
      const isOff = async (name: string): Promise<boolean> =>
        (await compute.getVirtualMachine({ name })).powerState === 'DEALLOCATED';
      for (const name of estate.machines) await waitUntil(world, `${name} is off`, () => isOff(name));
      await world.clock.sleep(calmMs);
      return estate.made;
    });
    return { cloud: await world.image(), commits, made };
  } finally {
    world.close();
  }
};

const usual = new Map<number, Promise<EstateImage>>();

/**
 * The estate with which every history starts. Created once in a process for each number of disk hosts, and the same in each:
 * creating it takes a quarter of the time of a whole history.
 */
export const estateImage = (diskHosts = 0): Promise<EstateImage> => {
  const made = async (world: SimulatedCloud) => {
    await makeEstate(world);
    return { made: undefined, machines: Object.keys(plannedMachines).map(machineName) };
  };
  const image = usual.get(diskHosts) ?? makeImage({}, made, diskHosts);
  usual.set(diskHosts, image);
  return image;
};
