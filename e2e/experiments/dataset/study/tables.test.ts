import assert from 'node:assert/strict';
import { readFileSync } from 'node:fs';
import { test } from 'node:test';
import { testRun } from '../../../../libs/lab/src/dataset/test-run.ts';
import { studyFigures } from './figures.ts';
import { studyPage } from './plots.ts';
import { studyTables, withTables } from './tables.ts';

const page = readFileSync(new URL('../../../../docs/tracing-study.md', import.meta.url), 'utf8');

test('the page has a mark for each table of the study and no other mark', () => {
  const tables = studyTables(studyFigures('A test', [testRun()]));
  const marks = [...page.matchAll(/^<!-- (\w+) -->$/gm)].map(([, name]) => name);
  // A separate command writes the table of the seeds.
  assert.deepEqual(marks.toSorted(), [...tables.keys(), 'seeds'].toSorted());
  const renewed = withTables(page, tables);
  assert.equal(withTables(renewed, tables), renewed);
  assert.throws(() => withTables('', tables), /the page has no marks/);
});

test('links recover the edge that parents miss, and the plots show each method', () => {
  const figures = studyFigures('A test', [testRun()]);
  const whole = Object.fromEntries(figures.loss.map(({ name, points }) => [name, points[0]?.y]));
  assert.deepEqual([whole.parents, whole['parents and links']], [2 / 3, 1]);
  const shown = studyPage(figures);
  for (const name of ['parents', 'parents and links', 'timestamps', 'chain:0.1']) assert.ok(shown.includes(name), name);
});
