import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { RecordedEvent } from '@interlock/event-store';
import { openFindings } from '@interlock/lab/judge/findings';
import type { SimulatedTruth } from '../truth/truth.ts';
import { RotationJudge } from './rotation.ts';

const assigned: RecordedEvent = {
  position: 1,
  stream: 'set-s',
  version: 1,
  id: 'e',
  type: 'KeyAssigned',
  schema: 1,
  data: {},
  cause: { correlationId: 'c', causes: [], caller: 'principals/p', traceparent: '' },
  time: 1,
};

test('judge of rotations, G6: only a disk that moves to the set may still be under the key of another set', () => {
  for (const [isChanging, guarantee] of [
    [true, undefined],
    [false, 'G6'],
  ] as const) {
    const log = openFindings(() => 0);
    const disk = { name: 'd', set: 's', isDeleting: false, isChanging };
    const set = { isDeleted: false, activeKey: 'one', previousKeys: new Set() };
    const truth = {
      losses: { sets: new Map([['s', set]]) },
      disks: { disks: new Map([['d', disk]]), keyVersionOf: () => 'of another set', headerOf: () => undefined },
    };
    new RotationJudge({ log, truth: truth as unknown as SimulatedTruth }).onEvent(assigned);
    assert.equal(log.violation?.guarantee, guarantee);
  }
});
