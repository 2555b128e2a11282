import assert from 'node:assert/strict';
import { test } from 'node:test';
import { choiceOf, takesAccess, verdictOfRun } from '@interlock/lab';
import { causes, variantsOf } from '@interlock/lab/causes';
import { recordOf } from '../experiments/simulated/play-experiment.ts';
import { experimentNamed } from './experiments.ts';
import { causeRules } from './rules/lab.ts';

const { experiment } = experimentNamed('every-way');

test('every-way.experiment.yaml has a group for each way to lose a key that its owner can undo, and plays it once', () => {
  const played = experiment.timeline
    .filter(({ action, targets }) => takesAccess(action) && targets[0] !== 'ultra')
    .map((step) => [step.action, choiceOf(step)].filter((part) => part !== undefined).join('-'));
  const groups = experiment.estate.kind === 'planned' ? experiment.estate.groups.map(({ name }) => name) : [];
  const undoable = variantsOf(causes).flatMap(({ cause, title }) =>
    'giveBack' in cause && cause.giveBack?.length !== 0 ? [title.replace(' ', '-')] : [],
  );
  assert.deepEqual(played.toSorted(), undoable.toSorted());
  assert.deepEqual(groups.toSorted(), [...undoable, 'ultra', 'control'].toSorted());
});

test('the judge of the lab proves the rules about causes: they hold in the simulation, and break with its record', async () => {
  const record = await recordOf(experiment, 1);
  const failing = (changed: typeof record): readonly string[] => {
    const everyWay = verdictOfRun(experiment, changed);
    return causeRules.flatMap((one) => (one.judge({ everyWay }, []).verdict === 'fail' ? [one.id] : []));
  };
  assert.deepEqual(failing(record), []);
  /** As if the platform had not stopped the machine of a group. */
  const withoutStop = (group: string) => ({
    ...record,
    machines: record.machines.map((machine) =>
      machine.group === group ? { ...machine, power: machine.power.filter(({ reason }) => reason === '') } : machine,
    ),
  });
  assert.deepEqual(failing(withoutStop('switch-permission-model')), ['CMK-27']);
  assert.deepEqual(failing(withoutStop('expire-key')), ['CMK-104']);
  assert.deepEqual(failing(withoutStop('remove-role')), ['CMK-123']);
  assert.deepEqual(failing(withoutStop('delete-vault')), ['CMK-133']);
  const lost = { ...record, content: { ...record.content, bytesLost: 4_096 } };
  assert.deepEqual(
    failing(lost),
    causeRules.map(({ id }) => id),
  );
});
