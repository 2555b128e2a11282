import assert from 'node:assert/strict';
import { test } from 'node:test';
import { logger, virtualClock } from '@interlock/runtime';
import { callerOf } from '../cloud/caller.ts';
import type { Records } from './records.ts';
import { whileRenewing } from './renewal.ts';

const caller = callerOf({ principal: 'p', tenant: 't', correlationId: 'c', address: '127.0.0.1', tokens: {} });

test('a record that is not renewed is logged once, and again when it is: another replica may begin its work', async () => {
  const clock = virtualClock();
  const lines: string[] = [];
  const log = logger({ service: 'test', clock, write: (line) => void lines.push(line) });
  let calls = 0;
  const renew = async (): Promise<void> => {
    calls += 1;
    if (calls <= 2) throw new Error('the store is down');
  };
  const records = { renew } as Pick<Records, 'renew'> as Records;
  const work = () => clock.sleep(17_000).then(() => 'done');
  assert.equal(await clock.drive(whileRenewing({ records, clock, log }, { armId: '/a', caller }, work)), 'done');
  assert.equal(calls, 3);
  assert.deepEqual(
    lines.map((line) => JSON.parse(line)).map(({ event, record, failures }) => [event, record, failures]),
    [
      ['record is not renewed', '/a', 1],
      ['record is renewed again', undefined, 2],
    ],
  );
});
