import assert from 'node:assert/strict';
import { test } from 'node:test';
import { choiceOf, type RuleVerdict, takesAccess, type Verdict, verdictOfRun } from '@interlock/lab';
import { causes, variantsOf } from '@interlock/lab/causes';
import { recordOf } from '../experiments/simulated/play-experiment.ts';
import { type ExperimentName, experimentNamed } from './experiments.ts';
import type { See } from './findings.ts';
import { seeEveryWay, seeKeyLost } from './judged.ts';
import { type RuleId, rules } from './rules.ts';

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

/** The rules of which a finding does not hold. */
const brokenBy = (report: (see: See) => void): readonly string[] => {
  const broken = new Set<string>();
  report((rule, _part, ...findings) => {
    if (findings.length === 0 || findings.some(({ holds }) => !holds)) broken.add(rule);
  });
  return [...broken];
};

/** A verdict of which every rule held. @param guarantees as the oracle names them */
const heldBy = (name: ExperimentName, ...guarantees: readonly string[]): Verdict => {
  const { expect, proof } = experimentNamed(name).experiment;
  const rule = (kind: RuleVerdict['kind'], text: string): RuleVerdict => ({ kind, text, result: 'held', seen: 'so' });
  const held = [
    ...proof.map(({ of, see }) => rule('proof', `${of}: ${see} within 6s`)),
    ...expect.map(({ text }) => rule('expectation', text)),
    ...guarantees.map((text) => rule('guarantee', text)),
  ];
  return { outcome: 'held', because: '', problems: [], rules: held, groups: [], bytesCompared: 1, bytesLost: 0 };
};

const guarantees = ['CMK-100 vm-hdd', 'CMK-102 vm-ultra', 'CMK-103 vm-mixed', 'CMK-106 vm-hdd', 'CMK-111 vm-platform'];
const ultraStarts = [
  { outcome: 'failed', reason: 'KEY_DISABLED' },
  { outcome: 'running', reason: '' },
] as const;
const judgedRuns = [
  { part: 'lost key', verdict: heldBy('the-key-is-lost', ...guarantees), see: seeKeyLost },
  {
    part: 'every way',
    verdict: heldBy('every-way'),
    see: (see: See, verdict: Verdict) => seeEveryWay(see, verdict, [{ group: 'ultra', starts: ultraStarts }]),
  },
];

for (const { part, verdict, see } of judgedRuns) {
  const broken = (changed: Verdict): readonly string[] => brokenBy((to) => see(to, changed));
  const ofPart = (Object.keys(rules) as readonly RuleId[]).filter((id) => rules[id].parts.some((one) => one === part));

  test(`${part}: each of its rules breaks with some rule of the lab's verdict, violated or missing`, () => {
    assert.deepEqual(broken(verdict), []);
    const breaking = new Set<string>();
    for (const rule of verdict.rules) {
      const others = verdict.rules.filter((other) => other !== rule);
      const violated = broken({ ...verdict, rules: [...others, { ...rule, result: 'violated' }] });
      for (const id of violated) breaking.add(id);
    }
    // CMK-126 rests on the starts of a machine: see below.
    assert.deepEqual(
      ofPart.filter((id) => !breaking.has(id)),
      ofPart.filter((id) => id === 'CMK-126'),
    );
    assert.deepEqual(
      broken({ ...verdict, rules: [] }),
      ofPart.filter((id) => id !== 'CMK-126'),
    );
  });

  test(`${part}: a run that proves nothing breaks each of its rules`, () => {
    for (const outcome of ['inconclusive', 'aborted'] as const)
      assert.deepEqual(
        broken({ ...verdict, outcome }),
        ofPart.filter((id) => id !== 'CMK-126'),
      );
  });
}

test('the rule about ultra machines breaks if one starts under the lost key, or does not start afterwards', () => {
  const every = heldBy('every-way');
  const withStarts = (starts: Parameters<typeof seeEveryWay>[2][number]['starts']) =>
    brokenBy((see) => seeEveryWay(see, every, [{ group: 'ultra', starts }]));
  assert.deepEqual(withStarts(ultraStarts), []);
  assert.deepEqual(withStarts(ultraStarts.slice(1)), ['CMK-126']);
  assert.deepEqual(withStarts(ultraStarts.slice(0, 1)), ['CMK-126']);
});

test('the judge of the lab proves the rules about causes: they hold in the simulation, and break with its record', async () => {
  const record = await recordOf(experiment, 1);
  const failing = (changed: typeof record): readonly string[] =>
    brokenBy((see) => seeEveryWay(see, verdictOfRun(experiment, changed), changed.machines));
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
  assert.deepEqual(failing(lost), [
    ...['CMK-27', 'CMK-38', 'CMK-104', 'CMK-120', 'CMK-122', 'CMK-123', 'CMK-127', 'CMK-133'],
  ]);
});
