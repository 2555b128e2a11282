import type { Findings } from '@interlock/lab/judge/findings';
import type { SimulatedCloud } from '../cloud/simulated-cloud.ts';
import type { SimulatedTruth } from '../truth/truth.ts';

/**
 * G6: headers on storage match the events. The disk service rewrites a header that is behind the events or damaged. If no
 * fault replaced the header, the service itself failed to write it. @param parts the service log of the whole history
 */
export const checkHeaders = (parts: {
  readonly world: Pick<SimulatedCloud, 'serviceLog'>;
  readonly log: Pick<Findings, 'violate'>;
  readonly truth: { readonly disks: Pick<SimulatedTruth['disks'], 'wasReplaced'> };
}): void => {
  const { world, log, truth } = parts;
  for (const line of world.serviceLog) {
    if (!line.includes('"HEADER_')) continue;
    const { resource, volumeId, reason }: Record<string, unknown> = JSON.parse(line);
    if (typeof volumeId !== 'string' || truth.disks.wasReplaced(volumeId)) continue;
    log.violate('G6', `the header of ${resource} is the one its events record, without a fault`, String(reason));
  }
};
