import assert from 'node:assert/strict';
import { test } from 'node:test';
import { momentMs } from './chance.ts';

test('the moment of a fault is the usual one without a seed, and the same for the same seed', () => {
  const range = { usualMs: 60, spreadMs: 240 };
  assert.equal(momentMs('database', range, ''), 60);
  const drawn = Array.from({ length: 200 }, (_, n) => momentMs('database', range, `seed${n}`));
  assert.deepEqual(
    drawn,
    drawn.map((_, n) => momentMs('database', range, `seed${n}`)),
  );
  assert.ok(drawn.every((moment) => moment >= 0 && moment < 240));
  assert.ok(new Set(drawn).size > 50);
  assert.notEqual(momentMs('database', range, 'one'), momentMs('another', range, 'one'));
});
