import assert from 'node:assert/strict';
import { test } from 'node:test';
import { reasonsWithHelp } from '../../libs/rpc/src/help.ts';
import { codesOf, completed, errorPage, helpCell, isWordless, reasonRows, unknown, unlisted } from './error-page.ts';
import { type Reasons, reasonsInApi, reasonsInCode } from './reasons.ts';
import { textOf } from './sources.ts';

const page = textOf(errorPage);
const inCode = reasonsInCode();

test('finds the reasons in every form that they have in the code', () => {
  const forms = ['ETAG_MISMATCH', 'CONTENTION', 'TAGS_INVALID', 'LUN_IN_USE', 'KEY_DISABLED', 'VM_START_TIMED_OUT'];
  assert.deepEqual(
    forms.filter((reason) => !inCode.has(reason)),
    [],
  );
  assert.ok(inCode.has('BACKUP_OF_ANOTHER_*'));
  assert.ok(!inCode.has('FAILED_PRECONDITION') && !inCode.has('PREMIUM_SSD'));
});

test('docs/errors.md has exactly the reasons of the code', () => {
  assert.deepEqual(unlisted(page, inCode), []);
  assert.deepEqual(unknown(page, inCode), []);
});

test('each reason has its codes, its meaning and who acts', () => {
  const rows = [...reasonRows(page)];
  const wordless = rows.filter(([, row]) => isWordless(row)).map(([reason]) => reason);
  const codesMissing = rows.filter(
    ([reason, row]) => ![...(inCode.get(reason)?.codes ?? [])].every((code) => codesOf(row).includes(code)),
  );
  assert.deepEqual({ wordless, codesMissing }, { wordless: [], codesMissing: [] });
});

test('the page is sorted and lists the reasons that only the API description names (npm run rules writes both)', () => {
  assert.equal(page, completed(page, inCode, reasonsInApi()));
});

test('adds a new reason to the page, removes one that the code has no longer, and adds missing codes', () => {
  const before = [
    '| reason | code | what it means | who acts and how |',
    '| --- | --- | --- | --- |',
    '| `B_KEPT` | NOT_FOUND | kept | you |',
    '| `C_GONE` | ABORTED | gone | you |',
    '',
    'Named in the API description, not returned yet: none.',
  ].join('\n');
  const use = (...codes: readonly string[]) => ({ codes: new Set(codes), files: new Set(['x.ts']) });
  const found: Reasons = new Map([
    ['B_KEPT', use('NOT_FOUND', 'ABORTED')],
    ['A_NEW', use('DATA_LOSS')],
    ['D_PART_*', use()],
  ]);
  assert.equal(
    completed(before, found, new Set(['B_KEPT', 'D_PART_ONE', 'E_PROMISED'])),
    [
      '| reason | code | what it means | who acts and how |',
      '| --- | --- | --- | --- |',
      '| `A_NEW` | DATA_LOSS | – | – |',
      '| `B_KEPT` | NOT_FOUND, ABORTED | kept | you |',
      '| `D_PART_*` | – | – | – |',
      '',
      'Named in the API description, not returned yet: `E_PROMISED`.',
    ].join('\n'),
  );
});

test('the page shows the help of each refusal, and every help belongs to a reason of the page', () => {
  const rows = reasonRows(page);
  const wrong = reasonsWithHelp.filter((reason) => rows.get(reason)?.[3] !== helpCell(reason));
  assert.deepEqual(wrong, []);
  assert.equal(helpCell('KEY_VERSION_NOT_FOUND'), 'List the versions: `interlock key versions <vault>/<key>`');
});
