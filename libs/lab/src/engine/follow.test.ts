import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { VirtualClock } from '@interlock/runtime';
import type { RunProgress } from '../progress/run-progress.ts';
import type { Observed } from '../target.ts';
import { experimentOf, runOnTestLab, step } from './test-lab.ts';

const nothing: Observed = { machines: [], io: [], sightings: [], guarantees: [] };

/** Looks at the progress every 500 ms of the run. */
const looks = () => {
  const seen: string[] = [];
  const follow = (progress: () => RunProgress, clock: VirtualClock): void => {
    const look = (): void => {
      const { phase, record, seenMs } = progress();
      const steps = record.steps.map(({ name, doneMs }) => `${name}${doneMs === undefined ? '' : ' done'}`);
      seen.push(`${clock.now()} ${[phase, ...steps].join(', ')}; seen ${seenMs}`);
      if (phase !== 'judgement' && clock.now() < 10_000) clock.alarm(500, look);
    };
    look();
  };
  return { seen, follow };
};

test('the progress of a run shows its phase, its steps and what was observed last, also without abort conditions', async () => {
  const { seen, follow } = looks();
  const carryOut = async (_: unknown, clock: VirtualClock) => clock.sleep(700);
  await runOnTestLab(experimentOf([step('bus', 1_200, { forMs: 1_500 })]), { follow, carryOut });
  const first = seen.filter((line) => line.startsWith('0 '));
  assert.ok(first.includes('0 set-up; seen undefined'), first.join('\n'));
  assert.ok(first.includes('0 steady state; seen undefined'), first.join('\n'));
  assert.ok(seen.includes('500 timeline; seen 0'), seen.join('\n'));
  assert.ok(seen.includes('1500 timeline, bus; seen 1000'), seen.join('\n'));
  assert.ok(seen.includes('2500 timeline, bus done; seen 2000'), seen.join('\n'));
});

test('a lab that cannot be read does not end a run without abort conditions', async () => {
  const { seen, follow } = looks();
  let calls = 0;
  const observe = async (): Promise<Observed> => {
    calls += 1;
    if (calls < 4) throw new Error('UNAVAILABLE');
    return nothing;
  };
  const { record } = await runOnTestLab(experimentOf([step('late', 5_000, { forMs: 100 })]), {
    follow,
    lab: { observe },
  });
  assert.equal(record.run.abortedBy, undefined);
  assert.deepEqual(record.run.problems, []);
  assert.ok(
    seen.some((line) => line.endsWith('seen 3000')),
    seen.join('\n'),
  );
});

test('a run that is not followed observes its lab only at the end', async () => {
  let calls = 0;
  const observe = async (): Promise<Observed> => {
    calls += 1;
    return nothing;
  };
  await runOnTestLab(experimentOf([step('late', 5_000, { forMs: 100 })]), { lab: { observe } });
  assert.equal(calls, 1);
});
