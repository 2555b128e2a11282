import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nextScreen } from '../commands/watch.ts';
import type { Reading } from './reading.ts';
import { drawn, type Screen, type ScreenLayout } from './screen.ts';
import { lost, machineRow, short, unreachable, working } from './test-readings.ts';

const layout: ScreenLayout = { width: 100, height: 30, hasColours: false, title: 'g', short };

const after = (...readings: readonly Reading[]): Screen => {
  const screen = readings.reduce<Screen | undefined>((state, reading) => nextScreen(state, reading, short), undefined);
  assert.ok(screen !== undefined);
  return screen;
};

const textOf = (screen: Screen, more: Partial<ScreenLayout> = {}): string =>
  drawn(screen, { ...layout, ...more }).join('\n');

test('the screen shows sets with access and lease, machines with rate and counters, and what happened', () => {
  const busy = lost(2);
  const text = textOf(
    after(working(0), { ...busy, machines: busy.machines?.map((one) => ({ ...one, operations: 140 })) }),
  );
  assert.match(text, /^interlock watch: g +12:00:02 UTC\nevery service responds\n/);
  assert.match(text, /des1 +kv1\/k1 +LOST +KEY_DISABLED +12:00:00 +LOST, 0 open/);
  assert.match(text, /vm1 +STOPPED +KEY_DISABLED +12:00:00 +20\.0\/s +140 +0 +0/);
  assert.match(
    text,
    /HAPPENED\n12:00:00 {2}des1 {2}access to kv1\/k1 LOST: KEY_DISABLED\n12:00:00 {2}vm1 {2}STOPPED: KEY_DISABLED/,
  );
  assert.match(textOf(after(working(0))), /HELD 53 s, 2 open[\s\S]*HAPPENED\nnothing yet/);
});

test('while no service responds, the screen keeps the last data, marks it, and shows for how long', () => {
  const text = textOf(after(working(0), unreachable(1), unreachable(8)));
  assert.match(text, /compute: not responding for 7 s/);
  assert.match(text, /SETS \(as last read\)/);
  assert.match(text, /MACHINES \(as last read\)[\s\S]*vm1 +RUNNING/);
  const again = textOf(after(working(0), unreachable(1), working(9)));
  assert.match(again, /every service responds/);
  assert.doesNotMatch(again, /as last read/);
});

test('rates are computed over the newest readings, also across a failed one', () => {
  const counted = (seconds: number, operations: number) =>
    working(seconds, { machines: [machineRow('vm1', { operations })] });
  const { rates } = after(counted(0, 0), counted(1, 10), unreachable(2), unreachable(3), counted(4, 40));
  assert.deepEqual([...rates.values()], [10]);
});

test('the screen is never wider or higher than the terminal', () => {
  const machines = Array.from({ length: 500 }, (_, n) =>
    machineRow(`a-machine-with-a-long-name-${n}`, n === 400 ? { power: 'STOPPED', reason: 'KEY_DISABLED' } : {}),
  );
  const screen = after(working(0), working(1, { machines }));
  for (const [width, height] of [
    [40, 10],
    [80, 24],
    [200, 60],
  ] as const) {
    const lines = drawn(screen, { ...layout, width, height });
    assert.ok(lines.length <= height, `${lines.length} of ${height} lines`);
    for (const line of lines) assert.ok(line.length <= width, line);
  }
  const text = textOf(screen, { height: 24 });
  assert.match(text, /MACHINES[^\n]*\na-machine-with-a-long-name-400 +STOPPED/, 'what needs attention comes first');
  assert.match(text, /… and \d+ more, \d+ of them running/);
  assert.match(text, /HAPPENED/);
});

test('colours apply to whole lines and can be switched off', () => {
  const screen = after(working(0), lost(1));
  const coloured = drawn(screen, { ...layout, hasColours: true });
  assert.ok(coloured.some((line) => line.startsWith('\u001b[31mvm1') && line.endsWith('\u001b[0m')));
  assert.ok(drawn(screen, layout).every((line) => !line.includes('\u001b')));
});
