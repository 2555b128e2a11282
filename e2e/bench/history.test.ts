import assert from 'node:assert/strict';
import { appendFileSync, existsSync, mkdtempSync, rmSync, symlinkSync } from 'node:fs';
import { tmpdir } from 'node:os';
import { join } from 'node:path';
import { after, test } from 'node:test';
import { repository } from '@interlock/local/data-folder.ts';
import { openHistory, readHistory } from './history.ts';
import { measurement } from './measure.ts';

const folder = mkdtempSync(join(tmpdir(), 'history-'));
after(() => rmSync(folder, { recursive: true, force: true }));
const one = measurement({ bench: 'b', size: 1, unit: 'ms' }, [1, 2, 3], [1, 1, 1], { p95: 3, quantiles: [1, 2, 3] });

test('reads added lines in order, with the time of their run', () => {
  const file = join(folder, 'kept');
  openHistory(file).add([one, { ...one, size: 2 }]);
  openHistory(file).add([{ ...one, size: 3 }]);
  const kept = readHistory(file);
  assert.deepEqual(
    kept.map(({ time: _time, ...line }) => line),
    [one, { ...one, size: 2 }, { ...one, size: 3 }],
  );
  assert.equal(kept[0]?.time, kept[1]?.time);
  for (const { time } of kept) assert.equal(new Date(time).toISOString(), time);
});

test('a smoke run adds no line and prints a message', () => {
  const file = join(folder, 'smoke');
  const printed: string[] = [];
  openHistory(file, true, (line) => printed.push(line)).add([one]);
  assert.deepEqual(readHistory(file), []);
  assert.deepEqual(printed, [`--smoke measures nothing: no line was added to ${file}.`]);
});

test('refuses a file in the repository, also through a link, and does not create it', () => {
  const file = join(repository, 'e2e', 'bench', 'kept');
  assert.throws(() => openHistory(file), /outside/);
  symlinkSync(join(repository, 'e2e'), join(folder, 'link'));
  assert.throws(() => openHistory(join(folder, 'link', 'kept')), /outside/);
  assert.equal(existsSync(file), false);
  assert.equal(existsSync(join(repository, 'e2e', 'kept')), false);
});

test('names a missing folder, a missing file and a damaged line', () => {
  assert.throws(() => openHistory(join(folder, 'no', 'kept')), /cannot be written/);
  assert.throws(() => readHistory(join(folder, 'none')), /cannot be read.*npm run bench/s);
  const file = join(folder, 'odd');
  openHistory(file).add([one]);
  appendFileSync(file, '\n{"bench":"b"}\n');
  assert.throws(() => readHistory(file), /Line 3 of/);
});
