import assert from 'node:assert/strict';
import { test } from 'node:test';
import { commentsIn } from './proto-comments.ts';

test('comments are found by full name; a oneof is no level, other messages are', () => {
  const found = commentsIn(`
// About the file.
package a.v1;

// A service.
service S {
  // Does it.
  // And more.
  rpc Do(DoRequest) returns (R) {
    option idempotency_level = IDEMPOTENT;
  }
  // Empties it.
  rpc Clear(ClearRequest) returns (R);
}

message Empty {}

message M {
  // A kind.
  enum Kind {
    // One.
    ONE = 1;
  }
  // Which.
  oneof source {
    // By name.
    string name = 1;
  }
  // Notes.
  map<string, string> tags = 2;
  string bare = 3;
}
`);
  assert.deepEqual(Object.fromEntries(found), {
    'a.v1.S/Do': 'Does it. And more.',
    'a.v1.S/Clear': 'Empties it.',
    'a.v1.M.name': 'By name.',
    'a.v1.M.tags': 'Notes.',
    'a.v1.M.bare': '',
  });
});
