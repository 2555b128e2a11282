import type { Scope } from '@interlock/runtime';
import type { BenchOptions } from './bench.ts';
import { type Deed, type Latencies, openBystander } from './fleet/bystander.ts';
import { openFleetCloud } from './fleet/fleet-cloud.ts';
import { restore, revoke } from './fleet/rounds.ts';
import { type Measurement, measurement, percentile } from './measure.ts';

/** Machines that stop meanwhile, when no size is asked for. */
const sizeDefault = 10_000;
/** How long the idle cloud is watched, in ms. */
const idleMs = 10_000;
const deeds: readonly Deed[] = ['start', 'read', 'wrap'];

/**
 * What a fleet that stops costs others: p99 of starting a machine, reading a disk and wrapping a key, all of somebody with a
 * vault of their own, from the moment the fleet loses its key until its last machine is told as stopped; beside it the p99 of
 * the same in the same cloud while nothing else happens.
 */
export const fairness = async (options: BenchOptions, scope: Scope): Promise<readonly Measurement[]> => {
  const { smoke, size = smoke ? 2 : sizeDefault } = options;
  const opened = await openFleetCloud(options, size, scope);
  const { clients, fleet } = opened;
  const told = await opened.told('VmStopped');
  const bystander = await openBystander(opened, scope);
  const watchWhile = async (work: () => Promise<unknown>): Promise<Latencies> => {
    const over = new AbortController();
    const watching = bystander.watch(over.signal);
    try {
      await work();
    } finally {
      over.abort();
    }
    return watching;
  };

  // Warms up what is watched.
  await watchWhile(() => idle(smoke ? 0 : idleMs / 5));
  const quiet: Latencies[] = [];
  const busy: Latencies[] = [];
  for (let round = 0; round < (smoke ? 1 : size <= 10_000 ? 3 : 1); round++) {
    if (round > 0) await restore(clients, fleet);
    quiet.push(await watchWhile(() => idle(smoke ? 0 : idleMs)));
    busy.push(await watchWhile(() => revoke(clients, fleet, told)));
  }
  return deeds.map((deed) => {
    const all = (of: readonly Latencies[]): readonly number[] => of.flatMap((latencies) => latencies[deed]);
    const [during, before] = [all(busy), all(quiet)];
    const p99 = (latencies: readonly number[]): number => percentile(latencies, 0.99);
    const line = measurement({ bench: 'fairness', size, unit: 'ms' }, [p99(during)], [p99(before)], {
      of: `p99 of ${deed}`,
      p50: Number(percentile(during, 0.5).toFixed(2)),
      idleP50: Number(percentile(before, 0.5).toFixed(2)),
      idleSamples: before.length,
    });
    return { ...line, samples: during.length };
  });
};

const idle = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms));
