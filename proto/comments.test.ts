import assert from 'node:assert/strict';
import { test } from 'node:test';
import { commentsIn } from './comments.mjs';

/** A location of source info. */
const at = (path: readonly number[], leadingComments?: string) => ({ path, leadingComments });

test('comments are found by full name: methods, fields, fields of nested messages; nothing else', () => {
  const found = commentsIn({
    file: [
      {
        package: 'a.v1',
        messageType: [
          {
            name: 'M',
            field: [{ name: 'title' }, { name: 'bare' }],
            nestedType: [{ name: 'Inner', field: [{ name: 'count' }] }],
          },
        ],
        service: [{ name: 'S', method: [{ name: 'Do' }] }],
        sourceCodeInfo: {
          location: [
            at([4, 0], ' A message.\n'),
            at([4, 0, 2, 0], ' The `title`,\n in full.\n'),
            at([4, 0, 2, 0, 3], ' Its number.\n'),
            at([4, 0, 2, 1]),
            at([4, 0, 3, 0, 2, 0], ' How many.\n'),
            at([6, 0], ' A service.\n'),
            at([6, 0, 2, 0], ' Does it.\n And more.\n'),
          ],
        },
      },
    ],
  });
  assert.deepEqual(Object.fromEntries(found), {
    'a.v1.M.title': 'The title, in full.',
    'a.v1.M.Inner.count': 'How many.',
    'a.v1.S/Do': 'Does it. And more.',
  });
});
