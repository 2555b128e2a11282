import assert from 'node:assert/strict';
import { test } from 'node:test';
import { memoryStore } from '@interlock/event-store';
import { logger, seededRandom, systemClock } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { type DueSource, watchDueTimes } from './due-times.ts';

test('KV-63, CMK-104: however many keys have an end, that of each is seen to when it comes', async () => {
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
    store: memoryStore({ clock, random: seededRandom(1) }),
    clock,
    log: logger({ service: 'test', clock, write: () => undefined }),
    tracer: trace.getTracer('test'),
    sources: [keys],
    newCause: () => ({ correlationId: 'c', causationId: 'd', caller: 'system:test' }),
  };
  await watchDueTimes(parts, ending.signal);
  assert.deepEqual(acted, ['k0']);
});
