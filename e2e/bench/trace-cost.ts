import { createScope, type Scope } from '@interlock/runtime';
import { type BenchOptions, type BenchRun, benchOf, type Sampled } from './bench.ts';
import { openFleet } from './fleet/open-fleet.ts';
import { type Details, median, percentile, rounded, timed } from './measure.ts';
import { openVault } from './unwrap.ts';

const keyBits = 2048;
/** Unwraps of one sample: about a second each. */
const batchedCount = 4_096;
const singlesCount = 2_048;
/** Pairs of samples. A single pair deviates by a tenth; tracing costs half of that. */
const unwrapPairs = 21;
const revocationPairs = 15;

type Tracing = 'on' | 'off';
type Both<Value> = Readonly<Record<Tracing, Value>>;

/**
 * The cost of tracing: unwraps (batches, single calls) and a revocation of `size` machines, with spans and without. Two clouds
 * run, but only one works at a time. A sample with spans and one without follow each other, in alternating order. The value is the
 * median of (time without ÷ time with) of the pairs: 1 means that tracing costs nothing.
 */
export const traceCost = benchOf(
  { name: 'trace-cost', unit: 'of the speed without', sizes: [10_000], smoke: 1, isOfCloud: true },
  async (run) => [...(await ofUnwraps(run)), await ofRevocations(run)],
);

const ofUnwraps = ({ options, scope, usually }: BenchRun): Promise<readonly Sampled[]> =>
  inOwnScope(scope, async (own) => {
    const keys = await onAndOff(options, async (each) => (await openVault(each, own)).createKey(keyBits));
    const measurePairs = async (of: string, kind: 'batched' | 'singles', count: number) => {
      const pairs = await inPairs(usually(unwrapPairs), (tracing) => timed(() => keys[tracing][kind](count)));
      return { ...compared(pairs, of, { unwraps: count }), size: keyBits };
    };
    return [
      await measurePairs('unwrap, in batches', 'batched', usually(batchedCount, 128)),
      await measurePairs('unwrap, one by one', 'singles', usually(singlesCount, 128)),
    ];
  });

const ofRevocations = async ({ size, options, scope, usually }: BenchRun): Promise<Sampled> => {
  const fleets = await onAndOff(options, async (each) => {
    const fleet = await openFleet(each, size, scope);
    return { fleet, stopped: await fleet.countFacts('VmStopped', scope) };
  });
  let samples = 0;
  const revocations = await inPairs(usually(revocationPairs), async (tracing) => {
    const { fleet, stopped } = fleets[tracing];
    // The fleet runs already at its first sample.
    if (samples++ >= 2) await fleet.restore();
    return timed(() => fleet.revoke(stopped));
  });
  return compared(revocations, 'revoke-fleet');
};

const inOwnScope = async <Result>(scope: Scope, work: (own: Scope) => Promise<Result>): Promise<Result> => {
  const own = createScope();
  scope.defer('first clouds', () => own.close());
  const result = await work(own);
  await own.close();
  return result;
};

/** Opens one of each. */
const onAndOff = async <Opened>(
  options: BenchOptions,
  open: (options: BenchOptions) => Promise<Opened>,
): Promise<Both<Opened>> => {
  const openWith = (settings: Readonly<Record<string, string>>) =>
    open({ ...options, settings: { ...options.settings, ...settings } });
  return { on: await openWith({}), off: await openWith({ OTEL_SDK_DISABLED: 'true' }) };
};

/** Milliseconds of the same number of samples of each, after one warm-up of each. */
const inPairs = async (
  count: number,
  sample: (tracing: Tracing) => Promise<number>,
): Promise<Both<readonly number[]>> => {
  const samples = { on: [] as number[], off: [] as number[] };
  const order: readonly Tracing[] = ['on', 'off'];
  for (const tracing of order) await sample(tracing);
  for (let pair = 0; pair < count; pair++) {
    for (const tracing of pair % 2 === 0 ? order : order.toReversed()) samples[tracing].push(await sample(tracing));
  }
  return samples;
};

const compared = ({ on, off }: Both<readonly number[]>, of: string, details: Details = {}): Sampled => {
  const ratios = on.map((ms, n) => (off[n] ?? Number.NaN) / ms);
  return {
    values: ratios,
    floors: [1],
    details: {
      of,
      lowerQuartile: rounded(percentile(ratios, 0.25)),
      upperQuartile: rounded(percentile(ratios, 0.75)),
      onMs: rounded(median(on)),
      offMs: rounded(median(off)),
      ...details,
    },
  };
};
