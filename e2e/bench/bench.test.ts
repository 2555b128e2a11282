import assert from 'node:assert/strict';
import { mkdtempSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { test } from 'node:test';
import { openDataFolder } from '@interlock/local/data-folder.ts';
import { createScope } from '@interlock/runtime';
import { type BenchOptions, benchOf } from './bench.ts';

test('a bench measures each size in a scope of its own, in rounds after one that warms up', async (t) => {
  const folder = mkdtempSync(join(tmpdir(), 'bench-'));
  t.after(() => rmSync(folder, { recursive: true, force: true }));
  const options: BenchOptions = {
    ...{
      size: undefined,
      seconds: undefined,
      replicas: undefined,
      diskHosts: undefined,
      vmHosts: undefined,
      smoke: false,
    },
    data: openDataFolder(folder),
  };
  const log: string[] = [];
  const bench = benchOf(
    {
      name: 'probe',
      unit: 'ms',
      sizes: [2, 3],
      smoke: 1,
      accepts: (size) => size < 10 || 'below 10',
      setUp: async () => 'shared',
    },
    async ({ size, scope, usually, rounds }, shared) => {
      log.push(`${shared} ${size}`);
      scope.defer('end', () => void log.push(`end of ${size}`));
      const values = await rounds(usually(4, 7), async (round) => size * (10 + round));
      return { values, floors: [size], details: { of: 'so much' } };
    },
  );
  const runWith = async (changes: Partial<BenchOptions>) => {
    log.length = 0;
    const lines = await bench.run({ ...options, ...changes }, createScope());
    return lines.map(({ bench: name, size, unit, of, value, floor, samples }) =>
      [name, size, unit, of, value, floor, samples].join(' '),
    );
  };
  // The first of five rounds warms up: 11 to 14.
  assert.deepEqual(await runWith({}), ['probe 2 ms so much 25 2 4', 'probe 3 ms so much 37.5 3 4']);
  assert.deepEqual(log, ['shared 2', 'end of 2', 'shared 3', 'end of 3']);
  assert.deepEqual(await runWith({ size: 5 }), ['probe 5 ms so much 62.5 5 4']);
  assert.deepEqual(await runWith({ smoke: true }), ['probe 1 ms so much 10 1 1']);
  await assert.rejects(runWith({ size: 10 }), { message: '--size of probe is below 10 (got 10).' });
  assert.deepEqual(log, []);
});
