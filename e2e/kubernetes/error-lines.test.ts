import assert from 'node:assert/strict';
import { test } from 'node:test';
import { logger, systemClock } from '@interlock/runtime';
import { errorLines } from './error-lines.ts';

test('finds the five newest errors in the log of a service, and cuts long ones', () => {
  const lines: string[] = ['(node:1) Warning: something'];
  const log = logger({ service: 'disk', clock: systemClock, write: (line) => lines.push(line.trimEnd()) });
  for (let n = 1; n <= 9; n += 1) {
    log.info('all is well', { n });
    log.error('a request failed', { n, error: new Error(`failure ${n}`) });
  }
  log.error('long', { text: 'x'.repeat(5_000) });
  const found = errorLines(lines.join('\n'));
  assert.equal(found.length, 5);
  assert.deepEqual(
    found.slice(0, 4).map((line) => /failure (\d)/.exec(line)?.[1]),
    ['6', '7', '8', '9'],
  );
  assert.ok(found.at(-1)?.endsWith('…') && found.at(-1)?.includes('long'));
  assert.deepEqual(errorLines('nothing\n{"level":"info"}'), []);
});
