import { serviceNames } from '@interlock/local/services.ts';
import type { Clients } from './clients.ts';
import { until } from './until.ts';

/** How long every consumer must have had no lag: longer than the time between two watermarks. In milliseconds. */
const calmMs = 1_200;

/**
 * Waits until no consumer lags and no fact is parked.
 * @throws Error that names the consumers that lag, or the parked facts (G7)
 */
export const settled = async (clients: Clients, limitMs = 20_000): Promise<void> => {
  let calmSince = performance.now();
  let behind = '';
  await until(
    'no consumer lags',
    async () => {
      const consumers = await Promise.all(
        serviceNames.map(async (service) =>
          (await clients.messaging(service).listConsumers({})).consumers.map((found) => ({ ...found, service })),
        ),
      );
      const parked = consumers.flat().filter(({ parkedCount }) => parkedCount > 0);
      if (parked.length > 0) throw new Error(`parked: ${parked.map(({ service, name }) => `${service} ${name}`)}`);
      const late = consumers.flat().filter(({ gap }) => gap > 0);
      if (late.length > 0) {
        behind = late.map(({ service, name, gap }) => `${service} ${name} by ${gap}`).join(', ');
        calmSince = performance.now();
      }
      return performance.now() - calmSince > calmMs;
    },
    limitMs,
  ).catch((error: unknown) => {
    throw new Error(`not settled; last lag: ${behind || 'none'}`, { cause: error });
  });
};
