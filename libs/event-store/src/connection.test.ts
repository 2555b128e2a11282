import assert from 'node:assert/strict';
import test from 'node:test';
import { openConnections } from './connection.ts';

test('G2: after any number of failed attempts, the next attempt to connect starts within 0.5 s', async (t) => {
  for (const url of ['postgres://absent@127.0.0.1:1/none', 'postgres://absent@localhost/none?host=/nowhere']) {
    const sql = openConnections(url);
    t.after(() => sql.end());
    const { backoff } = sql.options as unknown as { backoff(attempts: number): number };
    for (let attempts = 0; attempts < 100; attempts += 1) {
      const seconds = backoff(attempts);
      assert.ok(seconds > 0 && seconds <= 0.5, `${seconds} s after ${attempts} attempts`);
    }
  }
});
