import assert from 'node:assert/strict';
import { test } from 'node:test';
import { logger, virtualClock } from '@interlock/runtime';
import { watchOwners } from './watch.ts';

const dayMs = 86_400_000;

test('from two weeks before the last secret of all owners expires, the log warns once a day', async () => {
  const clock = virtualClock();
  const said: string[] = [];
  const log = logger({ service: 'identity', clock, write: (line) => said.push(JSON.parse(line).event) });
  let until = clock.now() + 16 * dayMs;
  const ending = new AbortController();
  const owners = { actUntil: async () => until };
  const watching = watchOwners({ owners, clock, log })(ending.signal);
  await clock.pass(1.5 * dayMs);
  assert.deepEqual(said, []);
  await clock.pass(2 * dayMs);
  assert.equal(said.length, 2);
  assert.match(said[0] ?? '', /the last secret of an owner of the platform expires/);
  until = Number.POSITIVE_INFINITY;
  await clock.pass(2 * dayMs);
  assert.equal(said.length, 2);
  until = Number.NEGATIVE_INFINITY;
  await clock.pass(dayMs);
  assert.match(said[2] ?? '', /no owner of the platform has a usable secret/);
  ending.abort();
  await watching;
});
