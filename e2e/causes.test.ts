import assert from 'node:assert/strict';
import { test } from 'node:test';
import { choiceOf } from '@interlock/lab';
import { causes, unreachableVault, variantsOf } from '@interlock/lab/causes';
import { ways } from './azure/key-losses.ts';
import { filesLike, textOf } from './docs/sources.ts';
import { experimentNamed } from './rehearsal/experiments.ts';
import { causeWeights } from './simulation/actions/causes.ts';
import { faults } from './simulation/actions/faults.ts';
import { purgeActions } from './simulation/actions/purges.ts';
import { causes as ofTable } from './truth-table/causes.ts';

/** Every cause with its choices, by title. */
const all: readonly string[] = [...variantsOf(causes).map(({ title }) => title), unreachableVault.name];

/** Causes that a test file of the truth table names. @param how the function that plays them */
const playedBy = (how: string): readonly string[] => {
  const texts = filesLike(/^e2e\/truth-table\/.*(?<!\.long)\.test\.ts$/)
    .map(textOf)
    .filter((text) => text.includes(`${how}(`));
  return all.filter((title) => texts.some((text) => text.includes(`'${title}'`)));
};

test('every cause of the table is played on real processes; a purge only by the long tests', () => {
  const rehearsed = experimentNamed('every-way').experiment.timeline.map((step) =>
    [step.action, choiceOf(step)].filter((part) => part !== undefined).join(' '),
  );
  const byClientsOfAzure = ways.map(({ cause, choice }) => (choice === undefined ? cause : `${cause} ${choice}`));
  const played = new Set([...rehearsed, ...byClientsOfAzure, ...playedBy('testCausesOnServers')]);
  assert.deepEqual(
    all.filter((title) => !played.has(title)),
    ['purge-key'],
  );
  assert.match(textOf('e2e/truth-table/real-servers.long.test.ts'), /testCausesOnServers\(causes\)/);
  assert.ok(ofTable.some(({ name }) => name === 'purge-key'));
});

test('every cause of the table is played in virtual time: by the truth table, and by the histories of the simulation', () => {
  assert.deepEqual(playedBy('testCauses'), all);
  const faultNames = faults.map(({ name }) => name);
  const inHistories: Readonly<Record<string, boolean>> = {
    ...Object.fromEntries(Object.entries(causeWeights).map(([name, weight]) => [name, weight > 0])),
    'purge-key': purgeActions.some(({ name }) => name === 'key.purge'),
    throttle: faultNames.includes('throttling'),
    [unreachableVault.name]: ['pause', 'crash', 'partition'].every((name) => faultNames.includes(name)),
  };
  assert.deepEqual(
    [...causes, unreachableVault].map(({ name }) => name).filter((name) => inHistories[name] !== true),
    [],
  );
});
