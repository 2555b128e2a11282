import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { RsaDispatch } from './dispatch.ts';
import type { RsaRequest } from './messages.ts';
import type { RsaThread } from './thread.ts';

/** A thread that replies when the test says so, and notes how many jobs each message contained. */
const fakeThread = (versions: readonly string[]) => {
  const messages: number[] = [];
  const replies: (() => void)[] = [];
  const send = (request: RsaRequest): Promise<unknown> => {
    assert.ok(request.type === 'jobs');
    const { jobs, values } = request;
    messages.push(jobs.length);
    return new Promise((resolve) => replies.push(() => resolve({ values, failures: new Map() })));
  };
  const thread: RsaThread = {
    loaded: new Set(versions),
    // The dispatch sends only jobs.
    send: send as RsaThread['send'],
    stop: async () => undefined,
  };
  return { thread, messages, replyNext: () => replies.shift()?.() };
};

const noSealing = { open: () => Promise.reject(new Error('the thread has the key')) };

/** Submits so many unwraps under a key of so many bits. @returns how many jobs each message contained */
const messagesOf = async (bits: number, count: number): Promise<readonly number[]> => {
  const { thread, messages, replyNext } = fakeThread(['v']);
  const dispatch = new RsaDispatch({ threads: [thread], sealing: noSealing, queueLimit: 1_000, keysPerThread: 9 });
  const publicJwk = { kty: 'RSA', n: Buffer.alloc(bits / 8, 255).toString('base64url'), e: 'AQAB' } as const;
  const key = { version: 'v', tenant: 'tenants/t', publicJwk, sealedPrivateKey: async () => new Uint8Array() };
  const job = () =>
    ({
      work: { operation: 'decrypt', version: 'v', algorithm: 'RSA-OAEP-256' },
      value: new Uint8Array(8),
    }) as const;
  const all = Array.from({ length: count }, () => dispatch.submit(job(), { tenant: key.tenant, privateKey: key }));
  let isDone = false;
  const done = Promise.all(all).then(() => {
    isDone = true;
  });
  while (!isDone) {
    await nextTurn();
    replyNext();
    await nextTurn();
  }
  await done;
  return messages;
};

test('a message to a thread contains about the same work for each size of key', async () => {
  assert.deepEqual(await messagesOf(2_048, 40), [18, 18, 4]);
  assert.deepEqual(await messagesOf(4_096, 9), [4, 4, 1]);
  assert.deepEqual(await messagesOf(2_048, 1), [1]);
});
