import assert from 'node:assert/strict';
import { existsSync, mkdtempSync, readFileSync, rmSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { type Played, readExperiment, type Trial } from '@interlock/lab';
import { testMeter } from '@interlock/runtime/test-meter';
import { simulatedTarget } from '../target.ts';
import { playForever } from './forever.ts';
import { searchableOf } from './searched-file.ts';

const folder = mkdtempSync(join(tmpdir(), 'interlock-forever-'));
after(() => rmSync(folder, { recursive: true }));
const text = readFileSync(new URL('./everything.experiment.yaml', import.meta.url), 'utf8');

/** Plays rounds whose outcome depends on the moves: with a fault of nats they are violated. */
const played = async (isJson: boolean, seed: number, rounds: number, isOver = (): boolean => false) => {
  const searchable = searchableOf(text, simulatedTarget(1));
  assert.ok('trials' in searchable);
  const lines: string[] = [];
  const { meter, read } = testMeter();
  const kept = join(folder, `${isJson}-${seed}-${rounds}`);
  const judge = ({ moves }: Trial): Played => {
    const isViolated = moves.some(({ targets }) => targets.includes('nats'));
    return { outcome: isViolated ? 'violated' : 'held', because: 'it was', violated: [], closeness: {} };
  };
  const counts = await playForever({
    ...{ searchable, seed, rounds, isOver, isJson, meter, folder: kept },
    play: async (trials) => trials.map(judge),
    say: (line) => void lines.push(line),
  });
  return { counts, lines, kept, rounds: await read('interlock.experiment.rounds') };
};

test('each round has a line, a count and a metric; a violated one leaves a file that repeats it', async () => {
  const { counts, lines, rounds } = await played(true, 1, 12);
  const { held = 0, violated = 0 } = counts;
  assert.ok(held > 0 && violated > 0 && held + violated === 12, JSON.stringify(counts));
  const all = lines.map((line) => JSON.parse(line));
  assert.deepEqual(all.at(-1), { summary: { rounds: 12, ...counts } });
  assert.deepEqual(
    all.slice(0, -1).map(({ round }) => round),
    Array.from({ length: 12 }, (_, n) => n + 1),
  );
  for (const { outcome, file, seed } of all.slice(0, -1)) {
    assert.equal(file !== undefined && existsSync(file), outcome === 'violated');
    if (file === undefined) continue;
    const read = readExperiment(readFileSync(file, 'utf8'));
    assert.ok('experiment' in read && read.experiment.seed === seed);
  }
  const measured = Object.fromEntries(rounds.map(([of, value]) => [of['interlock.experiment.outcome'], value]));
  assert.deepEqual(measured, counts);
});

test('the same seed draws the same rounds, and rounds that held leave nothing', async () => {
  const first = await played(false, 2, 2);
  assert.deepEqual((await played(false, 2, 2)).lines, first.lines);
  assert.match(first.lines[0] ?? '', /^round 1 (held|violated) \(.*; seed \d+\)/);
  const none = await played(false, 3, 10, () => true);
  assert.deepEqual([none.lines, existsSync(none.kept)], [['0 rounds: none'], false]);
});
