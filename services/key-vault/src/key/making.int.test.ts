import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { BroadcastChannel } from 'node:worker_threads';
import { createRsaPool } from '../rsa/pool.ts';
import { newVault, startVaultCloud, until, type VaultCloud } from '../testing/test-vault-cloud.ts';

const channel = new BroadcastChannel(`make-keys-${randomUUID()}`);
/** The thread that makes keys. It blocks from when it receives a gate until the gate opens, as in the middle of a key. */
const stoppableMaker = new URL(
  `data:text/javascript,${encodeURIComponent(`
    import { BroadcastChannel } from 'node:worker_threads';
    const channel = new BroadcastChannel(${JSON.stringify(channel.name)});
    channel.onmessage = ({ data }) => {
      channel.postMessage('stopped');
      Atomics.wait(new Int32Array(data), 0, 0);
      channel.close();
    };
    await import(${JSON.stringify(new URL('../rsa/worker.ts', import.meta.url).href)});
  `)}`,
);

let world: VaultCloud;
/** Orders of keys that have reached the engine. */
let ordered = 0;
before(async () => {
  world = await startVaultCloud({
    settings: {
      engine: (sealing) => {
        const pool = createRsaPool({ sealing, workers: 1, makerUrl: stoppableMaker });
        return {
          ...pool,
          generate(...order) {
            ordered += 1;
            return pool.generate(...order);
          },
        };
      },
    },
  });
});
after(async () => {
  channel.close();
  await world.close();
});

test('G1: while forty keys are being made, access checks and unwraps in another vault do not wait', {
  timeout: 120_000,
}, async () => {
  const [flooded, other] = [await newVault(world), await newVault(world)];
  const vault = world.vault();
  const { name } = await vault.createKey({ parent: other, keyId: 'k', requestId: randomUUID() });
  const algorithm = 'RSA_OAEP_256';
  const { wrappedKey } = await vault.wrapKey({ name, algorithm, plaintextKey: randomBytes(64) });

  const stopped = Promise.withResolvers<void>();
  channel.onmessage = () => stopped.resolve();
  const gate = new SharedArrayBuffer(4);
  channel.postMessage(gate);
  await stopped.promise;
  const gaveUp = new AbortController();
  const orderedBefore = ordered;
  let made = 0;
  const flood = Array.from({ length: 40 }, (_, n) =>
    vault
      .createKey(
        { parent: flooded, keyId: `k${n}`, keySizeBits: 4096, requestId: randomUUID() },
        { signal: gaveUp.signal },
      )
      .then(() => {
        made += 1;
      }),
  );
  const ended = Promise.allSettled(flood);
  await until(async () => ordered === orderedBefore + 40);

  // The private key is evicted, so both calls also read its seal key from the disk.
  await vault.disableKeyVersion({ name });
  await vault.enableKeyVersion({ name });
  await vault.checkAccess({ keyVersion: name, algorithm, wrappedProbe: Buffer.from(wrappedKey) });
  assert.equal(
    (await vault.unwrapKey({ name, algorithm, wrappedKey: Buffer.from(wrappedKey) })).plaintextKey.length,
    64,
  );
  assert.equal(made, 0);

  gaveUp.abort();
  Atomics.store(new Int32Array(gate), 0, 1);
  Atomics.notify(new Int32Array(gate), 0);
  await ended;
  // A key that is not started when its caller gives up is never made: the next key does not wait for it.
  await vault.createKey({ parent: other, keyId: 'next', requestId: randomUUID() });
  const { keys } = await vault.listKeys({ parent: flooded });
  assert.ok(keys.length <= 1, `${keys.length} keys were made`);
});
