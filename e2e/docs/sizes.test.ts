import assert from 'node:assert/strict';
import { test } from 'node:test';
import { countedFiles, folderOf, foldersOn, sizePage, withSizes } from './size-page.ts';
import { textOf } from './sources.ts';

const page = textOf(sizePage);

test('docs/architecture.md has the sizes of its folders (npm run rules corrects them)', () => {
  assert.equal(withSizes(page), page);
});

test('every source file is in a folder of docs/architecture.md, and every folder has files', () => {
  const folders = foldersOn(page);
  const files = countedFiles().filter((file) => file.split('/').length > 2 && !file.startsWith('proto/'));
  const homeless = files.filter((file) => folderOf(file, folders) === undefined);
  assert.deepEqual(homeless, []);
  const used = new Set(countedFiles().map((file) => folderOf(file, folders)));
  assert.deepEqual(
    folders.filter((folder) => !used.has(folder)),
    [],
  );
});

test('a wrong size is corrected, a close one stays', () => {
  const before = '| `services/identity` | x | 100 | 99,900 |';
  const after = withSizes(before);
  assert.notEqual(after, before);
  assert.equal(withSizes(after), after);
});
