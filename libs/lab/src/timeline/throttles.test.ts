import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Step } from '../experiment.ts';
import { withoutThrottles } from './concerns.ts';

const step = (action: Step['action']): Step => ({
  name: action,
  action,
  targets: ['a'],
  atMs: 0,
  options: {},
  line: 1,
});

test('a throttled vault counts as a loss of a group only if no other step takes its key', () => {
  const [throttle, deleteKey] = [step('throttle'), step('delete-key')];
  assert.deepEqual(withoutThrottles([throttle, deleteKey]), [deleteKey]);
  assert.deepEqual(withoutThrottles([throttle]), [throttle]);
});
