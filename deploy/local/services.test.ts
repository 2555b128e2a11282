import assert from 'node:assert/strict';
import { test } from 'node:test';
import { LauncherError } from './data-folder.ts';
import { processNameOf, replicasOf } from './services.ts';

test('accepts 1 to 7 replicas', () => {
  assert.deepEqual([undefined, '1', '2', '7'].map(replicasOf), [1, 1, 2, 7]);
  for (const text of ['0', '-1', '1.5', '1e0', '', 'two', '8', '1000']) {
    assert.throws(
      () => replicasOf(text),
      (error) => error instanceof LauncherError && error.message.includes(`from 1 to 7, not "${text}"`),
    );
  }
});

test("processes have numbered names if one serves and the others stand by; otherwise the first has the service's name", () => {
  const namesOf = (service: 'disk' | 'compute', replicas: number) =>
    Array.from({ length: replicas }, (_, replica) => processNameOf(service, replica, replicas));
  assert.deepEqual(namesOf('disk', 1), ['disk']);
  assert.deepEqual(namesOf('disk', 2), ['disk-0', 'disk-1']);
  assert.deepEqual(namesOf('compute', 2), ['compute', 'compute-1']);
});
