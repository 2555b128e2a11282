import assert from 'node:assert/strict';
import { randomBytes } from 'node:crypto';
import { test } from 'node:test';
import { setImmediate } from 'node:timers/promises';
import { Rejection } from '@interlock/event-store';
import { systemRandom } from '@interlock/runtime';
import { masterKey } from '@interlock/sealing';
import { createMemorySealKeyStore } from '../sealing/seal-key-store.ts';
import { Sealing } from '../sealing/sealing.ts';
import { createRsaPool, type RsaPoolOptions } from './pool.ts';
import type { RsaEngine, RsaKey } from './rsa.ts';

const algorithm = 'RSA-OAEP-256';
/** The tenant of the keys in these tests. */
const order = { tenant: 'tenants/t' };
const hasReason = (reason: string) => (cause: unknown) => cause instanceof Rejection && cause.reason === reason;

/** A worker that ends at once when it gets a message of more than `jobs` jobs: the only way to die on demand. */
const dyingWorker = (jobs: number) =>
  new URL(
    `data:text/javascript,${encodeURIComponent(`
      import { parentPort } from 'node:worker_threads';
      parentPort.on('message', ({ type, jobs }) => { if (type === 'jobs' && jobs.length > ${jobs}) process.exit(3); });
      await import(${JSON.stringify(new URL('./worker.ts', import.meta.url).href)});
    `)}`,
  );

async function withPool(options: Partial<RsaPoolOptions>, run: (pool: Pool) => Promise<void>): Promise<void> {
  const sealing = new Sealing({
    store: createMemorySealKeyStore(),
    masterKeys: { current: masterKey(randomBytes(32)), previous: [] },
    random: systemRandom,
  });
  const engine = createRsaPool({ sealing, workers: 2, ...options });
  try {
    await run({ engine, sealing });
  } finally {
    await engine.close();
  }
}

interface Pool {
  readonly engine: RsaEngine;
  readonly sealing: Sealing;
}

/** A key that counts how often its sealed private half was read. */
async function newKey(engine: RsaEngine, version: string): Promise<RsaKey & { loads: number }> {
  const made = await engine.generate(version, 2048, order);
  const key = {
    version,
    ...order,
    publicJwk: made.publicJwk,
    loads: 0,
    sealedPrivateKey: async () => {
      key.loads += 1;
      return made.sealedPrivateKey;
    },
  };
  return key;
}

test('many jobs of several keys return the right values, and two threads open each key at most four times', async () => {
  await withPool({}, async ({ engine }) => {
    const keys = await Promise.all(['1', '2', '3'].map((version) => newKey(engine, version)));
    const work = Array.from({ length: 300 }, async (_, index) => {
      const key = keys[index % keys.length];
      assert.ok(key);
      const dek = randomBytes(32);
      const value = await engine.wrap(key, { algorithm, value: dek, urgent: index % 2 === 0 });
      assert.deepEqual(Buffer.from(await engine.unwrap(key, { algorithm, value })), dek);
    });
    await Promise.all(work);
    // Two threads, at most two messages under way to each when the key is first needed.
    for (const { loads } of keys) assert.ok(loads >= 1 && loads <= 4, `${loads} loads`);
  });
});

test('a dead thread fails only the jobs sent to it, with a retryable error, and is replaced with its keys', async () => {
  await withPool({ workers: 1, workerUrl: dyingWorker(5) }, async ({ engine }) => {
    const key = await newKey(engine, '1');
    const value = await engine.wrap(key, { algorithm, value: randomBytes(32) });
    await engine.unwrap(key, { algorithm, value });
    const lost = await Promise.allSettled(Array.from({ length: 6 }, () => engine.unwrap(key, { algorithm, value })));
    for (const outcome of lost) {
      assert.ok(outcome.status === 'rejected' && hasReason('RSA_WORKER_LOST')(outcome.reason));
      assert.ok(outcome.reason instanceof Rejection && outcome.reason.retryable());
    }
    assert.equal((await engine.unwrap(key, { algorithm, value })).length, 32);
    assert.equal(key.loads, 2);
  });
});

test('a job waiting in the queue survives the death of the thread', async () => {
  await withPool({ workers: 1, workerUrl: dyingWorker(31) }, async ({ engine }) => {
    const key = await newKey(engine, '1');
    const value = await engine.wrap(key, { algorithm, value: randomBytes(32) });
    await engine.unwrap(key, { algorithm, value });
    const outcomes = await Promise.allSettled(
      Array.from({ length: 70 }, () => engine.unwrap(key, { algorithm, value })),
    );
    const fulfilled = outcomes.filter(({ status }) => status === 'fulfilled').length;
    assert.ok(fulfilled >= 6, `${fulfilled} of the last 6 came through`);
  });
});

test('a full queue refuses ordinary jobs at once; urgent ones still have room', async () => {
  await withPool({ workers: 1, queueLimit: 10 }, async ({ engine }) => {
    const key = await newKey(engine, '1');
    const value = await engine.wrap(key, { algorithm, value: randomBytes(32) });
    const ordinary = Promise.allSettled(Array.from({ length: 50 }, () => engine.unwrap(key, { algorithm, value })));
    const urgent = engine.unwrap(key, { algorithm, value, urgent: true });
    assert.equal((await urgent).length, 32);
    const outcomes = await ordinary;
    const refused = outcomes.filter(
      (outcome) => outcome.status === 'rejected' && hasReason('THROTTLED')(outcome.reason),
    );
    assert.equal(refused.length, 40);
    assert.equal(outcomes.length - refused.length, 10);
    assert.equal((await engine.unwrap(key, { algorithm, value })).length, 32);
  });
});

test('KV-95: a tenant that fills its queue leaves room for another', async () => {
  await withPool({ workers: 1, queueLimit: 10 }, async ({ engine }) => {
    const key = await newKey(engine, '1');
    const value = await engine.wrap(key, { algorithm, value: randomBytes(32) });
    const full = Promise.allSettled(Array.from({ length: 11 }, () => engine.unwrap(key, { algorithm, value })));
    const others = { ...key, version: '2', tenant: 'tenants/other' };
    const wrapped = await engine.wrap(others, { algorithm, value: randomBytes(32) });
    assert.equal(wrapped.length, 256);
    const refused = (await full).filter((outcome) => outcome.status === 'rejected');
    assert.deepEqual(
      refused.map(({ reason }) => [reason.reason, reason.metadata.limited]),
      [['THROTTLED', 'tenants/t']],
    );
  });
});

test('a key evicted and purged while its sealed half is being read does not reach a thread', async () => {
  await withPool({ workers: 1 }, async ({ engine, sealing }) => {
    const made = await newKey(engine, '1');
    const value = await engine.wrap(made, { algorithm, value: randomBytes(32) });
    const reading = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    const slow: RsaKey = {
      ...made,
      async sealedPrivateKey() {
        reading.resolve();
        await goOn.promise;
        return made.sealedPrivateKey();
      },
    };
    const unwrapping = engine.unwrap(slow, { algorithm, value });
    const refused = assert.rejects(unwrapping, hasReason('KEY_PURGED'));
    await reading.promise;
    await sealing.destroy('1');
    await engine.evict('1');
    goOn.resolve();
    await refused;
    await assert.rejects(engine.unwrap(made, { algorithm, value }), hasReason('KEY_PURGED'));
  });
});

test('a key evicted while its sealed half is being read does not reach a thread', async () => {
  await withPool({ workers: 1 }, async ({ engine }) => {
    const made = await newKey(engine, '1');
    const value = await engine.wrap(made, { algorithm, value: randomBytes(32) });
    const reading = Promise.withResolvers<void>();
    const goOn = Promise.withResolvers<void>();
    const slow: RsaKey = {
      ...made,
      async sealedPrivateKey() {
        reading.resolve();
        await goOn.promise;
        return made.sealedPrivateKey();
      },
    };
    const refused = assert.rejects(engine.unwrap(slow, { algorithm, value }), hasReason('KEY_EVICTED'));
    await reading.promise;
    await engine.evict('1');
    goOn.resolve();
    await refused;
  });
});

test('an evict waits for jobs in progress and refuses jobs in the queue', async () => {
  await withPool({ workers: 1 }, async ({ engine }) => {
    const key = await newKey(engine, '1');
    const value = await engine.wrap(key, { algorithm, value: randomBytes(32) });
    await engine.unwrap(key, { algorithm, value });
    const ended: unknown[] = [];
    const work = Array.from({ length: 100 }, () =>
      engine.unwrap(key, { algorithm, value }).then(
        () => ended.push('unwrapped'),
        (cause) => ended.push(cause instanceof Rejection ? cause.reason : cause),
      ),
    );
    // One turn of the event loop: the first messages are on their way, the rest is in the queue.
    await setImmediate();
    await engine.evict('1');
    const atEvict = ended.length;
    await Promise.all(work);
    assert.equal(atEvict, 100);
    assert.ok(ended.includes('unwrapped') && ended.includes('KEY_EVICTED'));
    assert.equal(ended.filter((outcome) => outcome === 'unwrapped' || outcome === 'KEY_EVICTED').length, 100);
    assert.equal(key.loads, 1);
  });
});

test('a thread keeps the keys used last and opens the others again', async () => {
  await withPool({ workers: 1, keysPerWorker: 2 }, async ({ engine }) => {
    const keys = await Promise.all(['1', '2', '3'].map((version) => newKey(engine, version)));
    const use = async (key: RsaKey) => {
      const value = await engine.wrap(key, { algorithm, value: randomBytes(32) });
      await engine.unwrap(key, { algorithm, value });
    };
    const [one, two, three] = keys;
    assert.ok(one && two && three);
    for (const key of [one, two, one, three, one, two]) await use(key);
    assert.deepEqual(
      keys.map(({ loads }) => loads),
      [1, 2, 1],
    );
  });
});

test('an error while a key is read fails only the jobs of that key', async () => {
  await withPool({}, async ({ engine }) => {
    const key = await newKey(engine, '1');
    const value = await engine.wrap(key, { algorithm, value: randomBytes(32) });
    const unreadable: RsaKey = {
      ...key,
      version: '2',
      sealedPrivateKey: () => Promise.reject(new Error('no database')),
    };
    const failing = assert.rejects(engine.unwrap(unreadable, { algorithm, value }), /no database/);
    assert.equal((await engine.unwrap(key, { algorithm, value })).length, 32);
    await failing;
  });
});
