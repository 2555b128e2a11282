import assert from 'node:assert/strict';
import { test } from 'node:test';
import { actionsPage, causesPage, causesText, withActions } from './causes-page.ts';
import { textOf } from './sources.ts';

test('docs/causes.md has the causes of the code (npm run rules writes it)', () => {
  assert.equal(textOf(causesPage), causesText());
});

test('docs/how-to/write-an-experiment.md has the actions and options of the code (npm run rules corrects it)', () => {
  const page = textOf(actionsPage);
  assert.equal(withActions(page), page);
});
