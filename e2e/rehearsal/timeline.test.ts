import assert from 'node:assert/strict';
import { test } from 'node:test';
import { spanStore } from '@interlock/lab/spans/span-store';
import { systemClock } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { callsInWords, stepLines } from './terminal.ts';
import { createTimeline, type Step } from './timeline.ts';

test('reports each step at its end; a step that fails is reported with its error and throws it', async () => {
  const reported: Step[] = [];
  const timeline = createTimeline({
    tracer: trace.getTracer('test'),
    spans: spanStore(),
    clock: systemClock,
    tell: (step) => reported.push(step),
  });
  const plan = { who: 'VM user', title: 'Tries', rules: ['CMK-06'] };
  assert.equal(await timeline.step(plan, async () => 7), 7);
  await assert.rejects(
    timeline.step(plan, () => Promise.reject(new Error('no such disk'))),
    /no such disk/,
  );
  assert.deepEqual(
    reported.map(({ error }) => error),
    [undefined, 'no such disk'],
  );
  const [first, second] = reported;
  assert.ok(first && second);
  assert.match(stepLines(first, first.startMs).join('\n'), /0\.00 s .*✓ VM user: Tries {2}\[CMK-06\]/);
  assert.match(stepLines(second, first.startMs).join('\n'), /✗ VM user: Tries[\s\S]*no such disk/);
});

test('counts calls by method, with the number of refusals', () => {
  const call = (method: string, outcome = 'ok') => ({ service: 'disk', method, outcome });
  assert.equal(
    callsInWords([
      call('CreateDisk'),
      call('CreateDisk', 'KEY_DISABLED'),
      call('GetDisk'),
      call('Read', 'KEY_DISABLED'),
      call('Read', 'KEY_DISABLED'),
    ]),
    'disk CreateDisk ×2 (1 refused); disk GetDisk; disk Read ×2 (refused)',
  );
});
