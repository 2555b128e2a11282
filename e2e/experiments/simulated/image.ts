import type { Plan } from '@interlock/lab';
import { type EstateImage, makeImage } from '../../simulation/runs/estate-image.ts';
import { clientsOf, group, location } from '../../simulation/workload/estate.ts';
import { keyKindsOf, type MadeEstate, makePlannedEstate } from '../cloud/planned-estate.ts';
import type { ExperimentSettings } from './settings.ts';

/** The estate of an experiment, with its machines off. */
export type ExperimentImage = EstateImage & { readonly made: MadeEstate };

const images = new Map<string, Promise<ExperimentImage>>();

/** What of the timeline shapes the estate, so that other timelines share an image. */
const shapedBy = (plan: Plan): readonly (readonly string[])[] => {
  const { names, byRole, purged } = keyKindsOf(plan);
  return [names, [...byRole].sort(), [...purged].sort()];
};

/** Disk hosts of the cloud of an experiment; 0: the process of disk has all volumes. */
export const diskHostsOf = ({ estate }: Pick<Plan, 'estate'>): number =>
  estate.kind === 'planned' ? (estate.diskHosts ?? 0) : 0;

/** VM hosts of the cloud of an experiment; 0: compute runs the guests itself. */
export const vmHostsOf = ({ estate }: Pick<Plan, 'estate'>): number =>
  estate.kind === 'planned' ? (estate.vmHosts ?? 0) : 0;

/** Most images that a process keeps: a search has many timelines of one estate. */
const imagesMax = 32;

/**
 * The initial estate of every history of an experiment. Created once in a process for each estate with the same settings; it
 * has the same bytes in each process.
 */
export const experimentImage = (plan: Plan, { cloud }: ExperimentSettings): Promise<ExperimentImage> => {
  const name = JSON.stringify([plan.estate, shapedBy(plan), cloud]);
  const kept = images.get(name);
  images.delete(name);
  const found =
    kept ??
    makeImage(
      cloud,
      async (world) => {
        const owner = world.people.administrator.name;
        const uuid = (): string => world.random.uuid();
        const maker = {
          clients: clientsOf(world),
          clock: world.clock,
          uuid,
          resourceGroup: group,
          location,
          owner,
          tag: '',
        };
        const made = await makePlannedEstate(maker, plan);
        return { made, machines: made.machines.map((machine) => machine.name) };
      },
      diskHostsOf(plan),
    );
  images.set(name, found);
  const [oldest = ''] = images.keys();
  if (images.size > imagesMax) images.delete(oldest);
  return found;
};
