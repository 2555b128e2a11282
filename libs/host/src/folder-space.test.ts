import assert from 'node:assert/strict';
import { test } from 'node:test';
import { createScope, type Logger } from '@interlock/runtime';
import { type FolderSpace, watchFolderSpace } from './folder-space.ts';

test('a folder without space is logged once with its name, and so is its space afterwards', async () => {
  const scope = createScope();
  const logged: string[] = [];
  const note =
    (level: string) =>
    (event: string, fields: object = {}) =>
      void logged.push(`${level} ${event} ${JSON.stringify(fields)}`);
  const log: Logger = { info: note('info'), warn: note('warn'), error: note('error'), with: () => log };
  const free = [2 ** 30, 4_096, 0, 2 ** 30, 2 ** 30];
  const clock = { sleep: async () => (free.length === 0 ? scope.close() : undefined) };
  const read: number[] = [];
  const onRead = ({ freeBytes }: FolderSpace): void => void read.push(freeBytes);
  const readSpace = async () => ({ capacityBytes: 2 ** 40, freeBytes: free.shift() ?? 0 });
  await watchFolderSpace({ folder: '/volumes', clock, log, scope, onRead }, readSpace);
  assert.deepEqual(read, [2 ** 30, 4_096, 0, 2 ** 30, 2 ** 30]);
  assert.deepEqual(logged, [
    'error no space left in a folder: free some, or enlarge its volume {"folder":"/volumes","freeBytes":4096}',
    'info a folder has space again {"folder":"/volumes","freeBytes":1073741824}',
  ]);
});
