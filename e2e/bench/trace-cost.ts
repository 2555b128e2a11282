import { openDataFolder } from '@interlock/local/data-folder.ts';
import { createScope, type Scope } from '@interlock/runtime';
import type { BenchOptions } from './bench.ts';
import { openFleetCloud } from './fleet/fleet-cloud.ts';
import { restore, revoke } from './fleet/rounds.ts';
import { type Measurement, measurement, median, percentile, rounded, timed } from './measure.ts';
import { openUnwraps } from './unwrap.ts';

/** Machines of the revocation, when no size is asked for. */
const machines = 10_000;
const keyBits = 2048;
/** Unwraps of one sample: some second each where nothing else runs. */
const batchedCount = 4_096;
const singlesCount = 2_048;
/** Pairs of samples, one with spans and one without: what one pair says is off by a tenth, and what is looked for is half of that. */
const unwrapPairs = 21;
const stopPairs = 15;

/** Whether spans are made and exported. */
const tracings = ['on', 'off'] as const;
type Tracing = (typeof tracings)[number];
type Both<Opened> = Readonly<Record<Tracing, Opened>>;

/**
 * What tracing costs: unwraps (in batches, and one by one) and the stop of a fleet with spans made and exported as always,
 * beside the same with none. Two clouds run at once, and one of them works at a time: a sample with and one without follow each
 * other, each being the first of every other pair, so a drift of the machine's speed meets both alike. The value of a line is
 * the median of what the pairs say, as a share of the speed without; 1 means that tracing costs nothing. Half of the pairs lie
 * between `lowerQuartile` and `upperQuartile`. `--size` is the number of machines that stop.
 */
export const traceCost = async (options: BenchOptions, scope: Scope): Promise<readonly Measurement[]> => {
  const { smoke } = options;
  const size = options.size ?? (smoke ? 1 : machines);
  const lines: Measurement[] = [];

  const vaults = createScope();
  scope.defer('vaults', () => vaults.close());
  const unwraps = await onAndOff(options, 'unwrap', (own) => openUnwraps(own, vaults));
  const keys = { on: await unwraps.on.makeKey(keyBits), off: await unwraps.off.makeKey(keyBits) };
  for (const [of, kind, count] of [
    ['unwrap, in batches', 'batched', smoke ? 128 : batchedCount],
    ['unwrap, one by one', 'singles', smoke ? 128 : singlesCount],
  ] as const) {
    const pairs = await inPairs(smoke ? 1 : unwrapPairs, (tracing) => timed(() => keys[tracing][kind](count)));
    lines.push(line(of, keyBits, pairs, { unwraps: count }));
  }

  await vaults.close();

  const fleets = await onAndOff(options, 'stop', async (own) => {
    const opened = await openFleetCloud(own, size, scope);
    return { ...opened, facts: await opened.told('VmStopped') };
  });
  let round = 0;
  const stops = await inPairs(smoke ? 1 : stopPairs, async (tracing) => {
    const { clients, fleet, facts } = fleets[tracing];
    if (round++ >= tracings.length) await restore(clients, fleet);
    return timed(() => revoke(clients, fleet, facts));
  });
  lines.push(line('revoke-fleet', size, stops));
  return lines;
};

/** One of each, with a folder of its own: beside another store key-vault would take its folder for that of a restored one. */
const onAndOff = async <Opened>(
  options: BenchOptions,
  name: string,
  open: (options: BenchOptions) => Promise<Opened>,
): Promise<Both<Opened>> => {
  const opened = async (tracing: Tracing): Promise<Opened> =>
    open({
      ...options,
      data: openDataFolder(options.data.folder(`${name}-${tracing}`)),
      settings: { ...options.settings, ...(tracing === 'on' ? {} : { OTEL_SDK_DISABLED: 'true' }) },
    });
  return { on: await opened('on'), off: await opened('off') };
};

/** Milliseconds of as many samples of each, after one of each to warm up. */
const inPairs = async (
  count: number,
  sample: (tracing: Tracing) => Promise<number>,
): Promise<Both<readonly number[]>> => {
  const samples = { on: [] as number[], off: [] as number[] };
  for (const tracing of tracings) await sample(tracing);
  for (let pair = 0; pair < count; pair++) {
    for (const tracing of pair % 2 === 0 ? tracings : tracings.toReversed())
      samples[tracing].push(await sample(tracing));
  }
  return samples;
};

/** The speed with spans as a share of that without, pair by pair. */
const line = (
  of: string,
  size: number,
  { on, off }: Both<readonly number[]>,
  details: Readonly<Record<string, number>> = {},
): Measurement => {
  const shares = on.map((ms, n) => (off[n] ?? Number.NaN) / ms);
  return measurement(
    { bench: 'trace-cost', size, unit: 'of the speed without' },
    shares,
    shares.map(() => 1),
    {
      of,
      lowerQuartile: rounded(percentile(shares, 0.25)),
      upperQuartile: rounded(percentile(shares, 0.75)),
      onMs: rounded(median(on)),
      offMs: rounded(median(off)),
      ...details,
    },
  );
};
