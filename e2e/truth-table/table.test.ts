import assert from 'node:assert/strict';
import { test } from 'node:test';
import { rulePage, rulesOn } from '../docs/rule-page.ts';
import { ruleIdsIn } from '../docs/rule-proofs.ts';
import { filesLike, textOf } from '../docs/sources.ts';
import { causes } from './causes.ts';
import { pageOf, truthTablePage } from './page.ts';
import { cellsOf, diskClasses, machineStates, truthTable } from './table.ts';

test('the table has every combination of cause, disk class and machine state once', () => {
  const names = truthTable.map(({ cause, diskClass, state }) => `${cause} × ${diskClass} × ${state}`);
  assert.equal(new Set(names).size, names.length);
  assert.equal(names.length, causes.length * diskClasses.length * machineStates.length);
  assert.ok(names.length >= 700, `${names.length} cells`);
});

test('every rule in the table is on the page of rules', () => {
  const known = new Set(rulesOn(textOf(rulePage)));
  const named = [...causes.flatMap(({ rules }) => rules), ...truthTable.map(({ rule }) => rule)];
  assert.deepEqual(
    named.filter((rule) => !known.has(rule)),
    [],
  );
});

test('exactly one test file plays each cause in virtual time, and one of each effect runs on real servers too', () => {
  const texts = filesLike(/^e2e\/truth-table\/.*\.test\.ts$/).map(textOf);
  const naming = (how: RegExp, name: string) => texts.filter((text) => how.test(text) && text.includes(`'${name}'`));
  for (const { name } of causes) assert.equal(naming(/testCauses\(/, name).length, 1, name);
  const onServers = causes.filter(({ name }) => naming(/testCausesOnServers\(/, name).length > 0);
  assert.deepEqual(new Set(onServers.map(({ effect }) => effect)), new Set(causes.map(({ effect }) => effect)));
});

test('G2, G3: a loss stops exactly the running machines with a non-ultra disk under the key', () => {
  for (const cause of causes.filter(({ effect }) => effect === 'loss')) {
    for (const { diskClass, state, expected } of cellsOf(cause)) {
      const wasRunning = state === 'running' || state === 'starting' || state === 'attaching';
      assert.equal(expected.end === 'RUNNING', wasRunning && diskClass === 'Ultra', `${diskClass} × ${state}`);
      assert.equal(expected.stopReason !== 'none', wasRunning && diskClass !== 'Ultra', `${diskClass} × ${state}`);
    }
  }
});

test(`${truthTablePage} matches the table`, () => {
  assert.equal(textOf(truthTablePage), pageOf(), 'run `node e2e/truth-table/write-page.ts`');
  assert.ok(ruleIdsIn(pageOf()).length > 0);
});
