import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RecordedEvent } from '@interlock/event-store';
import type { Truth } from '../oracle/oracle.ts';
import { openTrial } from '../runs/history-log.ts';
import { rotationJudge } from './rotation.ts';

const assigned: RecordedEvent = {
  position: 1,
  stream: 'set-s',
  version: 1,
  id: 'e',
  type: 'KeyAssigned',
  schema: 1,
  data: {},
  cause: { correlationId: 'c', causationId: 'c', caller: 'somebody', traceparent: '' },
  time: 1,
};

test('judge of rotations, G6: a disk on its way to another set may be under a key of that already, and no other may', () => {
  for (const [isChanging, guarantee] of [
    [true, undefined],
    [false, 'G6'],
  ] as const) {
    const log = openTrial(() => 0);
    const disk = { name: 'd', set: 's', isDeleting: false, isChanging };
    const set = { isDeleted: false, activeKey: 'one', previousKeys: new Set() };
    const truth = {
      losses: { sets: new Map([['s', set]]) },
      disks: { disks: new Map([['d', disk]]), keyVersionOf: () => 'of another set', headerOf: () => undefined },
    };
    rotationJudge({ log, truth: truth as unknown as Truth }).onEvent(assigned);
    assert.equal(log.violation?.guarantee, guarantee);
  }
});
