import assert from 'node:assert/strict';
import { describe, test } from 'node:test';
import { experimentOf } from '../verdict/test-record.ts';
import { concerns, giveBackOf, isUndone, keysOf, lossesOf, roleOf } from './concerns.ts';

const estate = `
  premium: {machines: 1, disks: [premium-ssd], key: k1}
  mixed: {machines: 1, disks: [standard-ssd: platform, ultra: k1], key: platform}
  other: {machines: 1, disks: [premium-ssd], key: k2}
`;
const planOf = (...steps: readonly string[]) =>
  experimentOf(`title: t\nestate:${estate}timeline:\n${steps.map((step) => `  - {${step}}\n`).join('')}`);

const concernedBy = (plan: ReturnType<typeof planOf>, name: string): readonly string[] => {
  const step = plan.timeline.find((one) => one.name === name) ?? assert.fail(name);
  return ['premium', 'mixed', 'other'].filter((group) => concerns(plan, step, group));
};

describe('which groups a step concerns', () => {
  test('a loss and its give-back concern the groups with a disk under the key, named by group or by key', () => {
    const plan = planOf(
      'at: 0s, disable-key: premium, as: one',
      'at: 1s, give-back: one, as: back',
      'at: 2s, disable-key: k2, as: two, for: 1s',
    );
    assert.deepEqual(concernedBy(plan, 'one'), ['premium', 'mixed']);
    assert.deepEqual(concernedBy(plan, 'back'), ['premium', 'mixed']);
    assert.deepEqual(concernedBy(plan, 'two'), ['other']);
    assert.deepEqual(
      [roleOf(plan, 'premium'), lossesOf(plan, 'mixed').length, keysOf(plan)],
      ['treatment', 1, ['k1', 'k2']],
    );
    const [one] = plan.timeline;
    assert.ok(one !== undefined && isUndone(plan, one) && giveBackOf(plan, one)?.name === 'back');
  });

  test('a key action on a group without its own key concerns the key of its first disk under one', () => {
    const plan = planOf('at: 0s, disable-key: mixed, as: one, for: 1s');
    assert.deepEqual(concernedBy(plan, 'one'), ['premium', 'mixed']);
  });

  test('a machine action concerns its group; a fault of the cloud concerns no group', () => {
    const plan = planOf('at: 0s, stop: mixed, as: one', 'at: 0s, pause: disk, for: 1s, as: two');
    assert.deepEqual(concernedBy(plan, 'one'), ['mixed']);
    assert.deepEqual(concernedBy(plan, 'two'), []);
    assert.equal(roleOf(plan, 'premium'), 'control');
  });

  test('between assign-key and its undo, the loss of the new key concerns the group, not that of the old key', () => {
    const plan = planOf(
      'at: 0s, assign-key: premium, to: k3, as: move',
      'at: 1s, disable-key: k1, as: old, for: 1s',
      'at: 2s, disable-key: k3, as: new, for: 1s',
      'at: 4s, give-back: move',
      'at: 5s, disable-key: k1, as: again, for: 1s',
    );
    assert.deepEqual(keysOf(plan), ['k1', 'k2', 'k3']);
    assert.deepEqual(concernedBy(plan, 'move'), ['premium', 'mixed']);
    assert.deepEqual(concernedBy(plan, 'old'), []);
    assert.deepEqual(concernedBy(plan, 'new'), ['premium', 'mixed']);
    assert.deepEqual(concernedBy(plan, 'again'), ['premium', 'mixed']);
  });
});
