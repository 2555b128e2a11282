import assert from 'node:assert/strict';
import { test } from 'node:test';
import { category, memoryStore } from '@interlock/event-store';
import { rs256 } from '@interlock/rpc';
import { systemClock as clock, systemRandom as random } from '@interlock/runtime';
import { masterKey } from '@interlock/sealing';
import { signingKeys } from './decider.ts';
import { hasSigningKeys, openKeyRing } from './key-ring.ts';

test('a key ring can be reopened with the same master key, and not with another one', async () => {
  const store = memoryStore({ clock });
  const bytes = random.bytes(32);
  const open = (under: Uint8Array) => {
    const parts = { store, keys: category(store, signingKeys), format: rs256, clock, random, overlapMs: 1 };
    return openKeyRing({ ...parts, masterKey: masterKey(Uint8Array.from(under)) });
  };
  const { kid } = await (await open(bytes)).signing();
  await assert.rejects(open(random.bytes(32)), { reason: 'MASTER_KEY_UNKNOWN', message: /MASTER_KEY_FILE/ });
  assert.equal((await (await open(bytes)).signing()).kid, kid);
});

test('hasSigningKeys is true once a key ring was opened over the store', async () => {
  const store = memoryStore({ clock });
  assert.equal(await hasSigningKeys(store), false);
  const keys = category(store, signingKeys);
  await openKeyRing({
    store,
    keys,
    masterKey: masterKey(random.bytes(32)),
    format: rs256,
    clock,
    random,
    overlapMs: 1,
  });
  assert.equal(await hasSigningKeys(store), true);
});
