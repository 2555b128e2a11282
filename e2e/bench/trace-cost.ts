import { openDataFolder } from '@interlock/local/data-folder.ts';
import { createScope, type Scope } from '@interlock/runtime';
import type { Bench, BenchOptions } from './bench.ts';
import { type Measurement, measurement } from './measure.ts';
import { revokeFleet } from './revoke-fleet.ts';
import { unwrap } from './unwrap.ts';

/** Machines of the revocation, when no size is asked for. */
const machines = 10_000;
const keyBits = 2048;
/** Order of the runs, so that a drift of the machine's speed meets both alike. */
const order = ['on', 'off', 'off', 'on'] as const;

/**
 * What tracing costs: `unwrap` (in batches, and one by one) and `revoke-fleet` with spans made and exported as always, and
 * with none. Each run is held against its own floor first, so what is compared is speeds as shares of what the machine
 * could do at the time; 1 means that tracing costs nothing. `--size` is the number of machines of the revocation.
 */
export const traceCost = async (options: BenchOptions, scope: Scope): Promise<readonly Measurement[]> => {
  const size = options.size ?? (options.smoke ? 1 : machines);
  const unwraps = await onAndOff(unwrap, { ...options, size: keyBits }, scope);
  const stops = await onAndOff(revokeFleet, { ...options, size }, scope);
  return [
    line('unwrap, in batches', keyBits, unwraps, ({ ratio }) => ratio),
    line('unwrap, one by one', keyBits, unwraps, ({ oneByOneRatio }) => Number(oneByOneRatio)),
    // Of a duration the floor is the smaller.
    line('revoke-fleet', size, stops, ({ ratio }) => 1 / ratio),
  ];
};

type Runs = Readonly<Record<(typeof order)[number], readonly Measurement[]>>;

const onAndOff = async (bench: Bench, options: BenchOptions, scope: Scope): Promise<Runs> => {
  const runs = { on: [] as Measurement[], off: [] as Measurement[] };
  for (const [n, tracing] of (options.smoke ? order.slice(0, 2) : order).entries()) {
    // A cloud after the other, each with a folder of its own: beside another store key-vault would take its folder for that of a restored one.
    const data = openDataFolder(options.data.folder(`${bench.name}-${n}`));
    const own = createScope();
    scope.defer('cloud', () => own.close());
    const settings = { ...options.settings, ...(tracing === 'on' ? {} : { OTEL_SDK_DISABLED: 'true' }) };
    runs[tracing].push(...(await bench({ ...options, data, settings }, own)));
    await own.close();
  }
  return runs;
};

const line = (of: string, size: number, { on, off }: Runs, speed: (run: Measurement) => number): Measurement =>
  measurement({ bench: 'trace-cost', size, unit: 'of the floor' }, on.map(speed), off.map(speed), { of });
