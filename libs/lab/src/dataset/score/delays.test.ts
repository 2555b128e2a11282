import assert from 'node:assert/strict';
import { test } from 'node:test';
import { nanosOf, type TruthEvent } from '../format/truth.ts';
import { testRun } from '../test-run.ts';
import { fromDelays } from './delays.ts';

test('the cause of an event is the one at the usual delay, not the newest event', () => {
  const [example] = testRun().events;
  assert.ok(example);
  const all: TruthEvent[] = [];
  const add = (type: string, n: number, atMs: number): void => {
    const spanId = String(all.length).padStart(16, '0');
    const timeUnixNano = nanosOf(1_700_000_000_000 + atMs);
    all.push({ ...example, id: `${type}-${n}`, type, spanId, timeUnixNano, position: all.length, causes: [] });
  };
  for (let n = 0; n < 20; n += 1) {
    add('Cause', n, n * 5_000);
    // Unrelated, at another moment each time, and mostly between the two.
    add('Noise', n, n * 5_000 + ((n * 37) % 110));
    add('Effect', n, n * 5_000 + 100);
  }
  const spans = all.map(({ traceId, spanId, timeUnixNano: time, service }) => ({
    ...{ traceId, spanId, service, name: 'x', startTimeUnixNano: time, endTimeUnixNano: time },
  }));
  const causes = new Map(fromDelays(spans, all).map(({ from, to }) => [to, from]));
  for (let n = 0; n < 20; n += 1) assert.equal(causes.get(`Effect-${n}`), `Cause-${n}`);
});
