import type { SimulatedCloud } from '../cloud/simulated-cloud.ts';
import type { Truth } from '../oracle/oracle.ts';
import type { HistoryLog } from '../runs/history-log.ts';

/**
 * G6: headers on storage keep up with the events by themselves. The disk service writes a header again that is behind them, or
 * damaged; where no fault has put another one there, it was the service that did not write it as it should.
 */
export const headerJudge = (parts: {
  readonly world: Pick<SimulatedCloud, 'serviceLog'>;
  readonly log: Pick<HistoryLog, 'violate'>;
  readonly truth: { readonly disks: Pick<Truth['disks'], 'wasReplaced'> };
}) => {
  const { world, log, truth } = parts;
  return {
    /** Looks at what the service reported in the whole history. */
    checkEnd(): void {
      for (const line of world.serviceLog) {
        if (!line.includes('"HEADER_')) continue;
        const { resource, volumeId, reason }: Record<string, unknown> = JSON.parse(line);
        if (typeof volumeId !== 'string' || truth.disks.wasReplaced(volumeId)) continue;
        log.violate('G6', `the header of ${resource} is the one its events record, without a fault`, String(reason));
      }
    },
  };
};
