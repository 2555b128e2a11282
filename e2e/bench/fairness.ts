import type { Scope } from '@interlock/runtime';
import type { BenchOptions } from './bench.ts';
import { type Deed, type Latencies, openBystander } from './fleet/bystander.ts';
import { openFleetCloud } from './fleet/fleet-cloud.ts';
import { restore, revoke } from './fleet/rounds.ts';
import { type Measurement, measurement, percentile } from './measure.ts';

/** Machines that stop meanwhile, when no size is asked for. */
const sizeDefault = 10_000;
/** How long the idle cloud is watched before each round, in ms. */
const idleMs = 6_000;
const deeds: readonly Deed[] = ['start', 'read', 'wrap'];
/** Of each deed at least so many are seen beside fleets that stop, round after round: with fewer there is no p99. */
const samplesMin = 200;
/** Where a round gives few. */
const roundsMax = 8;

/**
 * What a fleet that stops costs others: p99 of starting a machine, reading a disk and wrapping a key, all of somebody with a
 * vault of their own, from the moment the fleet loses its key until its last machine is told as stopped; beside it the p99 of
 * the same in the same cloud while nothing else happens. `samples` says of how many.
 */
export const fairness = async (options: BenchOptions, scope: Scope): Promise<readonly Measurement[]> => {
  const { smoke, size = smoke ? 2 : sizeDefault } = options;
  const opened = await openFleetCloud(options, size, scope);
  const { clients, fleet } = opened;
  const told = await opened.told('VmStopped');
  const bystander = await openBystander(opened, scope);
  const watchWhile = async (work: () => Promise<unknown>): Promise<Latencies> => {
    const over = new AbortController();
    const [latencies] = await Promise.all([bystander.watch(over.signal), work().finally(() => over.abort())]);
    return latencies;
  };

  // Warms up what is watched.
  await watchWhile(() => idle(smoke ? 0 : idleMs / 2));
  const quiet: Latencies[] = [];
  const busy: Latencies[] = [];
  const all = (of: readonly Latencies[], deed: Deed): readonly number[] => of.flatMap((latencies) => latencies[deed]);
  const isEnough = (): boolean => deeds.every((deed) => all(busy, deed).length >= samplesMin);
  for (let round = 0; round < (smoke ? 1 : roundsMax) && !isEnough(); round++) {
    if (round > 0) await restore(clients, fleet);
    quiet.push(await watchWhile(() => idle(smoke ? 0 : idleMs)));
    busy.push(await watchWhile(() => revoke(clients, fleet, told)));
  }
  return deeds.map((deed) => {
    const [during, before] = [all(busy, deed), all(quiet, deed)];
    const p99 = (latencies: readonly number[]): number => percentile(latencies, 0.99);
    const line = measurement({ bench: 'fairness', size, unit: 'ms' }, [p99(during)], [p99(before)], {
      of: `p99 of ${deed}`,
      p50: Number(percentile(during, 0.5).toFixed(2)),
      idleP50: Number(percentile(before, 0.5).toFixed(2)),
      idleSamples: before.length,
      rounds: busy.length,
    });
    return { ...line, samples: during.length };
  });
};

const idle = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
