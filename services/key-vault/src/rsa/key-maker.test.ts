import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { readdir, readFile } from 'node:fs/promises';
import { getPriority } from 'node:os';
import { test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { systemRandom } from '@interlock/runtime';
import { masterKey } from '@interlock/sealing';
import { createMemorySealKeyStore } from '../sealing/seal-key-store.ts';
import { Sealing } from '../sealing/sealing.ts';
import { KeyMaker } from './key-maker.ts';
import type { RsaRequest } from './messages.ts';
import { createRsaPool } from './pool.ts';
import type { RsaThread } from './thread.ts';

const newSealing = () =>
  new Sealing({
    store: createMemorySealKeyStore(),
    masterKeys: { current: masterKey(randomBytes(32)), previous: [] },
    random: systemRandom,
  });

/** A thread that makes a key when the test says so, and notes the versions in the order in which they were started. */
const heldThread = () => {
  const started: string[] = [];
  const replies: (() => void)[] = [];
  let changed = Promise.withResolvers<void>();
  const send = (request: RsaRequest): Promise<unknown> => {
    assert.ok(request.type === 'generate');
    started.push(request.version);
    changed.resolve();
    const { bits } = request;
    const value = { bits, publicJwk: { kty: 'RSA', n: '', e: '' }, sealedPrivateKey: new Uint8Array() };
    return new Promise((resolve) => replies.push(() => resolve({ ok: true, value })));
  };
  // The maker sends only requests for keys.
  const thread: RsaThread = { loaded: new Set(), send: send as RsaThread['send'], stop: async () => undefined };
  return {
    thread,
    started,
    replyNext: () => replies.shift()?.(),
    async untilStarted(count: number): Promise<void> {
      while (started.length < count) {
        await changed.promise;
        changed = Promise.withResolvers();
      }
    },
  };
};

/** A maker on a held thread, and a way to order a key for a tenant. */
const heldMaker = () => {
  const held = heldThread();
  const maker = new KeyMaker(held.thread, newSealing());
  const make = (tenant: string, version: string, signal?: AbortSignal) =>
    maker.make({ type: 'generate', version, bits: 2048 }, { tenant, ...(signal && { signal }) });
  return { ...held, maker, make };
};

test('tenants take turns: a tenant that orders many keys delays another by the started key and the next turn', async () => {
  const { make, started, untilStarted, replyNext } = heldMaker();
  const all = ['a1', 'a2', 'a3', 'a4'].map((version) => make('tenants/a', version));
  await untilStarted(1);
  all.push(make('tenants/b', 'b1'), make('tenants/b', 'b2'));
  for (let count = 1; count <= all.length; count += 1) {
    await untilStarted(count);
    replyNext();
  }
  await Promise.all(all);
  // a2 already had the next turn when b came.
  assert.deepEqual(started, ['a1', 'a2', 'b1', 'a3', 'b2', 'a4']);
});

test('KV-95: keys of one tenant above its limit are refused, and those of another tenant are not', async () => {
  const { make, maker, untilStarted, replyNext } = heldMaker();
  const ordered = Array.from({ length: 100 }, (_, n) => make('tenants/a', `a${n}`));
  const outcomes = Promise.allSettled(ordered);
  await untilStarted(1);
  const other = make('tenants/b', 'b');
  // One more than the limit: a key that was started no longer waits.
  await assert.rejects(ordered[65] ?? Promise.resolve(), (error) => {
    assert.ok(error instanceof Rejection);
    const { code, reason, metadata } = error;
    assert.deepEqual([code, reason, metadata.limited], ['RESOURCE_EXHAUSTED', 'THROTTLED', 'tenants/a']);
    assert.ok(Number(metadata.retryAfterMs) > 0);
    return true;
  });
  const closing = maker.close();
  replyNext();
  await assert.rejects(other, { reason: 'RSA_CLOSED' });
  await closing;
  const reasons = (await outcomes).map((one) => (one.status === 'fulfilled' ? 'made' : one.reason.reason));
  assert.deepEqual(Map.groupBy(reasons, (reason) => reason).get('THROTTLED')?.length, 35);
  assert.deepEqual(reasons[0], 'made');
});

test('a key whose caller gave up before it was started is not made', async () => {
  const { make, started, untilStarted, replyNext } = heldMaker();
  const first = make('tenants/a', 'a1');
  const caller = new AbortController();
  const refused = assert.rejects(make('tenants/a', 'a2', caller.signal), { reason: 'CALLER_GONE' });
  const third = make('tenants/a', 'a3');
  caller.abort();
  const other = assert.rejects(make('tenants/b', 'b1', caller.signal), { reason: 'CALLER_GONE' });
  for (const count of [1, 2]) {
    await untilStarted(count);
    replyNext();
  }
  await Promise.all([first, refused, other, third]);
  assert.deepEqual(started, ['a1', 'a3']);
});

test('only the thread that makes keys has a lower priority', {
  skip: process.platform !== 'linux',
}, async () => {
  const engine = createRsaPool({ sealing: newSealing(), workers: 2 });
  try {
    await engine.generate('v', 2048, { tenant: 'tenants/t' });
    const threads = await readdir('/proc/self/task');
    const stats = await Promise.all(threads.map((id) => readFile(`/proc/self/task/${id}/stat`, 'utf8')));
    // proc(5): the nice value is field 19; the name in field 2 may hold blanks and ends with ")".
    const nice = stats.map((stat) => Number(stat.slice(stat.lastIndexOf(')') + 2).split(' ')[16]));
    const usual = getPriority();
    const lower = Math.min(19, usual + 5);
    assert.equal(nice.filter((value) => value === lower).length, 1);
    assert.ok(nice.every((value) => value === lower || value === usual));
  } finally {
    await engine.close();
  }
});
