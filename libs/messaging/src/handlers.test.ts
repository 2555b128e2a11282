import assert from 'node:assert/strict';
import { test } from 'node:test';
import { CursorConflict, Rejection, StoreUnavailable, VersionConflict } from '@interlock/event-store';
import { type Verdict, verdictOn } from './handlers.ts';

const callFailed = (code: string): Error => Object.assign(new Error('call failed'), { name: 'RpcFailure', code });

const verdicts: readonly (readonly [unknown, Verdict])[] = [
  [new VersionConflict(['disk-1']), 'conflict'],
  [new CursorConflict('consumer:src:0'), 'conflict'],
  [new StoreUnavailable('down'), 'temporary'],
  [new Rejection('UNAVAILABLE', 'BUSY', ''), 'temporary'],
  [new Rejection('ABORTED', 'CONTENTION', ''), 'temporary'],
  [new Rejection('RESOURCE_EXHAUSTED', 'THROTTLED', ''), 'temporary'],
  [new Rejection('UNAUTHENTICATED', 'TOKEN_EXPIRED', ''), 'temporary'],
  [new Rejection('NOT_FOUND', 'DISK_NOT_FOUND', ''), 'definite'],
  [new Rejection('FAILED_PRECONDITION', 'KEY_DISABLED', ''), 'definite'],
  [callFailed('UNAVAILABLE'), 'temporary'],
  [callFailed('DEADLINE_EXCEEDED'), 'temporary'],
  [callFailed('INTERNAL'), 'unknown'],
  [new TypeError('undefined is not a function'), 'unknown'],
  ['thrown text', 'unknown'],
];

for (const [error, verdict] of verdicts) {
  const name = error instanceof Error ? `${error.name} ${'code' in error ? error.code : ''}` : String(error);
  test(`${name.trim()} is ${verdict}`, () => assert.equal(verdictOn(error), verdict));
}
