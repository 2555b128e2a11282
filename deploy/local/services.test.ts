import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LauncherError } from './data-folder.ts';
import { diskHostsFor, processNameOf, replicasOf } from './services.ts';

test('accepts 1 to 7 replicas', () => {
  assert.deepEqual([undefined, '1', '2', '7'].map(replicasOf), [1, 1, 2, 7]);
  for (const text of ['0', '-1', '1.5', '1e0', '', 'two', '8', '1000']) {
    assert.throws(
      () => replicasOf(text),
      (error) => error instanceof LauncherError && error.message.includes(`from 1 to 7, not "${text}"`),
    );
  }
});

test("the first process of a service has the service's name, and the others are numbered", () => {
  assert.deepEqual(
    [0, 1, 2].map((replica) => processNameOf('compute', replica)),
    ['compute', 'compute-1', 'compute-2'],
  );
});

test('several processes of disk have a disk host beside them, because only one can have a folder', () => {
  assert.deepEqual(
    [diskHostsFor(1), diskHostsFor(1, 3), diskHostsFor(2), diskHostsFor(2, 0), diskHostsFor(2, 3)],
    [0, 3, 1, 1, 3],
  );
});
