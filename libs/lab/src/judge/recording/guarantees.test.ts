import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Recorded } from '../journal/history.ts';
import { guaranteesOf } from './guarantees.ts';

const sinceMs = 100_000;

/** An operation that was refused for a lost key. */
const refusedAt = (atMs: number): Recorded => ({
  machine: 'vm',
  disk: 'disk',
  op: 'write',
  offset: 0,
  length: 4_096,
  seq: 1,
  invokedAt: atMs,
  completedAt: atMs,
  invokedMonotonicMs: atMs,
  completedMonotonicMs: atMs,
  ok: false,
  reason: 'KEY_DISABLED',
});

const broken = (history: readonly Recorded[]): readonly string[] =>
  guaranteesOf({
    events: { identity: [], 'key-vault': [], 'disk-encryption-set': [], disk: [], compute: [] },
    history,
    disturbances: [],
    terms: {
      authzTtlMs: 1_000,
      leases: { ttlMs: 2_000, unreachableGraceMs: 10_000 },
      sweepIntervalMs: 1_000,
      guestStopTimeoutMs: 1_000,
    },
    machines: new Set(['vm']),
    sinceMs,
  }).flatMap(({ rule, subject, holds }) => (holds ? [] : [`${rule} ${subject}`]));

test('G10: I/O that was refused without a loss is judged; that of an earlier run on the same machines is not', () => {
  assert.deepEqual(broken([refusedAt(sinceMs + 1)]), ['G10 disk']);
  assert.deepEqual(broken([refusedAt(sinceMs - 1)]), []);
});
