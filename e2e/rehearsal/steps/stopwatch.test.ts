import assert from 'node:assert/strict';
import { test } from 'node:test';
import { causes } from '../../truth-table/causes.ts';
import { goodEvidence } from '../rules/test-evidence.ts';
import { judge } from '../rules/verdicts.ts';
import { lanes, untimed } from './stopwatch.ts';

const timed = lanes.flatMap((lane) => lane.causes);

test('the rehearsal times every way to lose a key once, or gives the reason why not', () => {
  const told = [...timed, ...untimed.map(({ name }) => name)];
  assert.deepEqual(told.toSorted(), causes.map(({ name }) => name).toSorted());
});

test('for every timed cause, a machine with wrong content breaks a rule', () => {
  for (const name of timed) {
    const evidence = goodEvidence();
    for (const loss of evidence.timed.filter(({ cause }) => cause === name))
      for (const machine of loss.machines) machine.mismatched = 1;
    const failed = judge(evidence, []).filter(({ verdict }) => verdict === 'fail');
    assert.ok(failed.length > 0, name);
  }
});
