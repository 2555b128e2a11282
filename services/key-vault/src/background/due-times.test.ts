import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryStore } from '@interlock/event-store';
import { logger, systemClock, virtualClock } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { type DueSource, watchDueTimes } from './due-times.ts';

test('KV-63, CMK-104: among 200,000 keys with due times, only the key that is due is acted on', async () => {
  const clock = systemClock;
  const ending = new AbortController();
  const acted: string[] = [];
  const soon = clock.now() + 50;
  const keys: DueSource = {
    streamPrefix: 'key-',
    all: async () =>
      Array.from({ length: 200_000 }, (_, n) => ({ id: `k${n}`, dueAt: n === 0 ? soon : soon + 3_600_000 })),
    dueAt: async () => undefined,
    act: async (id) => {
      acted.push(id);
      ending.abort();
    },
  };
  const parts = {
    store: memoryStore({ clock }),
    clock,
    log: logger({ service: 'test', clock, write: () => undefined }),
    tracer: trace.getTracer('test'),
    sources: [keys],
    newCause: () => ({ correlationId: 'c', causes: [], caller: 'system:test' }),
    mayAct: async () => true,
  };
  await watchDueTimes(parts, ending.signal);
  assert.deepEqual(acted, ['k0']);
});

test('KV-63: work that falls due during a hold is done when the hold ends', async () => {
  const clock = virtualClock();
  const due = new Map([
    ['soon', clock.now() + 10],
    ['later', clock.now() + 20_000],
  ]);
  const acted: string[] = [];
  const keys: DueSource = {
    streamPrefix: 'key-',
    all: async () => [...due].map(([id, dueAt]) => ({ id, dueAt })),
    dueAt: async (id) => due.get(id),
    async act(id) {
      acted.push(id);
      due.delete(id);
    },
  };
  let isOnHold = true;
  const ending = new AbortController();
  const parts = {
    store: memoryStore({ clock }),
    clock,
    log: logger({ service: 'test', clock, write: () => undefined }),
    tracer: trace.getTracer('test'),
    sources: [keys],
    newCause: () => ({ correlationId: 'c', causes: [], caller: 'system:test' }),
    mayAct: async () => !isOnHold,
  };
  const watching = watchDueTimes(parts, ending.signal);
  await clock.pass(30_000);
  assert.deepEqual(acted, []);
  isOnHold = false;
  await clock.until(() => acted.length === 2, 2_000);
  ending.abort();
  await watching;
});
