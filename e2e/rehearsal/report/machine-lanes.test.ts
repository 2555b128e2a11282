import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Io } from '@interlock/lab/judge/journal/journal';
import type { Gathered } from '../evidence/evidence.ts';
import { goodEvidence } from '../rules/test-evidence.ts';
import type { Step } from '../timeline.ts';
import { machineLanes, pausesOf } from './machine-lanes.ts';

const startMs = 1_000;

const io = (atMs: number, op: Io['op'] = 'write'): Io => ({
  disk: 'd',
  op,
  offset: 0,
  length: 4_096,
  seq: 1,
  invokedAt: startMs + atMs,
  completedAt: startMs + atMs,
  ok: true,
  reason: '',
});

const step = (atMs: number, kind: 'loss' | 'return' | 'aside', label: string): Step => ({
  who: 'VM user',
  title: label,
  rules: [],
  event: { label, kind },
  startMs: startMs + atMs,
  durationMs: 1,
  traceId: '',
  calls: [],
  error: undefined,
});

/** I/O every 100 ms between two times. After a start the first is a check of what the disk holds. */
const worked = (fromMs: number, toMs: number): Io[] =>
  Array.from({ length: (toMs - fromMs) / 100 }, (_, n) =>
    io(fromMs + n * 100, n === 0 && fromMs > 0 ? 'verify' : 'write'),
  );

/** The stretches of one machine between 0 and 9 s, as their classes and widths, in order. */
const stretches = (name: string, journal: readonly Io[]): readonly string[] => {
  const { deleted: _, withdrawn: __, ...good } = goodEvidence();
  const stoppedAt = startMs + 3_050;
  const disabled = good.disabled && {
    ...good.disabled,
    machines: good.disabled.machines.map((machine) =>
      machine.stoppedAt === undefined ? machine : { ...machine, stoppedAt },
    ),
  };
  const evidence: Gathered = { ...good, disabled };
  const machines = (good.machines ?? []).filter((machine) => machine.name === name);
  assert.equal(machines.length, 1);
  const steps = [step(3_000, 'loss', 'key disabled'), step(5_000, 'return', 'key enabled')];
  const { html } = machineLanes({ machines, journals: { [name]: journal }, steps, evidence });
  const [wide = ''] = html.split('class="on-narrow"');
  return [...wide.matchAll(/<rect class="(off|free|away)" [^>]*width="([\d.]+)"/g)].map(
    ([, kind, width]) => `${kind} ${Math.round(Number(width) / 10)}`,
  );
};

test('a stopped machine is off until access is restored, and then waits for its user', () => {
  // 9.1 s are 880 pixels, so 2.1 and 2 s are some 200 and 190.
  assert.deepEqual(stretches('vm-hdd', [...worked(0, 3_000), ...worked(7_000, 9_000)]), ['off 20', 'free 19']);
});

test('a machine that is not started again waits until the end', () => {
  const [off, free, ...more] = stretches('vm-hdd', [...worked(0, 3_000), { ...io(9_000), ok: false }]);
  assert.deepEqual([off?.split(' ')[0], free?.split(' ')[0], more], ['off', 'free', []]);
});

test('a machine that keeps running shows its restart, and no stretch for a wait', () => {
  const restarted = [...worked(0, 6_000), ...worked(7_000, 9_000)];
  const [away, ...more] = stretches('vm-ultra', restarted);
  assert.deepEqual([away?.split(' ')[0], more], ['away', []]);
  const waited = restarted.map((one): Io => ({ ...one, op: 'write' }));
  assert.deepEqual(stretches('vm-ultra', waited), []);
});

test('marks an interval in which no machine did I/O, unless some machine did', () => {
  const [one, other] = [worked(0, 3_000), worked(3_400, 5_000)];
  const pauses = (...more: readonly Io[]) => pausesOf({ a: [...one, ...other, ...more], b: [...one, ...other] });
  assert.deepEqual(pauses(), [[startMs + 2_900, startMs + 3_400]]);
  assert.deepEqual(pauses(io(3_150)), []);
  assert.deepEqual(pauses({ ...io(3_150), ok: false }).length, 1, 'refused I/O is no work');
  assert.deepEqual(pausesOf({ a: [...one, ...other] }), [], 'a machine alone is only slow');
  const machines = (goodEvidence().machines ?? []).slice(0, 2);
  const isExplained = (journal: readonly Io[]) =>
    /every machine waits at once/.test(
      machineLanes({
        machines,
        journals: Object.fromEntries(machines.map(({ name }) => [name, journal])),
        steps: [],
        evidence: {},
      }).html,
    );
  assert.deepEqual(
    [isExplained([...one, ...other]), isExplained([...one, ...other, io(3_150)])],
    [true, false],
    'explained where it is',
  );
});

test('folds the time after the rehearsal in both pictures, and every bar lies in its lane', () => {
  const good = goodEvidence();
  const machines = (good.machines ?? []).slice(0, 1);
  const journals = { [machines[0]?.name ?? '']: worked(0, 30_000) };
  const steps = [step(3_000, 'loss', 'key disabled'), step(8_000, 'aside', '12 more machines')];
  const { html } = machineLanes({ machines, journals, steps, evidence: good });
  const pictures = html.split('class="on-narrow"');
  assert.equal(pictures.length, 2);
  for (const [picture, left, right] of [
    [pictures[0] ?? '', 236, 1_116],
    [pictures[1] ?? '', 0, 350],
  ] as const) {
    assert.equal([...picture.matchAll(/class="fold"/g)].length, 1);
    const bars = [...picture.matchAll(/class="io" x="([\d.]+)" y="[\d.]+" width="([\d.]+)"/g)];
    assert.ok(bars.length > 100);
    const ends = bars.map(([, at, width]) => [Number(at), Number(at) + Number(width)] as const);
    assert.ok(
      ends.every(([from, to]) => from >= left && to <= right + 3),
      JSON.stringify(ends.slice(-3)),
    );
    const [, aside] = /class="event-aside" x1="([\d.]+)"/.exec(picture) ?? [];
    assert.ok(Number(aside) > left + (right - left) * 0.7, 'the eight seconds of interest have most of the picture');
  }
});
