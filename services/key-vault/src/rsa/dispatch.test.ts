import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import type { Sealing } from '../sealing/sealing.ts';
import { createRsaDispatch } from './dispatch.ts';
import type { RsaThread } from './thread.ts';
import type { ToWorker } from './worker.ts';

/** A thread that answers when it is told to, and notes how many jobs each message brought. */
const fakeThread = (versions: readonly string[]) => {
  const messages: number[] = [];
  const answers: (() => void)[] = [];
  const ask = (_type: string, message: ToWorker): Promise<unknown> => {
    assert.ok(message.type === 'jobs');
    const { id, jobs, values } = message;
    messages.push(jobs.length);
    return new Promise((resolve) => answers.push(() => resolve({ type: 'jobs', id, values, failures: new Map() })));
  };
  const thread: RsaThread = {
    loaded: new Set(versions),
    // It is asked for jobs alone.
    ask: ask as RsaThread['ask'],
    stop: async () => undefined,
  };
  return { thread, messages, answerNext: () => answers.shift()?.() };
};

/** Submits as many unwraps as are asked for, under a key of so many bits. @returns how many each message held */
const messagesOf = async (bits: number, count: number): Promise<readonly number[]> => {
  const { thread, messages, answerNext } = fakeThread(['v']);
  let id = 0;
  const sealing = {} as Sealing;
  const dispatch = createRsaDispatch({
    threads: [thread],
    sealing,
    queueLimit: 1_000,
    keysPerWorker: 9,
    nextId: () => id++,
  });
  const publicJwk = { kty: 'RSA', n: Buffer.alloc(bits / 8, 255).toString('base64url'), e: 'AQAB' } as const;
  const key = { version: 'v', tenant: 'tenants/t', publicJwk, sealedPrivateKey: async () => new Uint8Array() };
  const job = () =>
    ({
      work: { operation: 'decrypt', version: 'v', algorithm: 'RSA-OAEP-256' },
      value: new Uint8Array(8),
    }) as const;
  const all = Array.from({ length: count }, () => dispatch.submit(job(), key, key));
  let isDone = false;
  const done = Promise.all(all).then(() => {
    isDone = true;
  });
  while (!isDone) {
    await nextTurn();
    answerNext();
    await nextTurn();
  }
  await done;
  return messages;
};

test('a message to a thread holds so much work and no more, whatever the size of the key', async () => {
  assert.deepEqual(await messagesOf(2_048, 40), [18, 18, 4]);
  assert.deepEqual(await messagesOf(4_096, 9), [4, 4, 1]);
  assert.deepEqual(await messagesOf(2_048, 1), [1]);
});
