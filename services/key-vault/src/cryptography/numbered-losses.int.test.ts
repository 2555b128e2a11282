import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { type EventStore, Rejection } from '@interlock/event-store';
import type { Bus } from '@interlock/messaging';
import { newVault, startVaultCloud, until, type VaultClient, type VaultCloud } from '../testing/test-vault-cloud.ts';

const algorithm = 'RSA_OAEP_256';

/** Blocks work at one place while it is shut. */
const gate = () => {
  let opened = Promise.withResolvers<void>();
  let reached = Promise.withResolvers<void>();
  let isShut = false;
  return {
    async pass() {
      if (!isShut) return;
      reached.resolve();
      await opened.promise;
    },
    shut() {
      isShut = true;
      opened = Promise.withResolvers<void>();
      reached = Promise.withResolvers<void>();
      return reached.promise;
    },
    open() {
      isShut = false;
      opened.resolve();
    },
  };
};

const rsa = gate();
const stateRead = gate();
let isIdentityCutOff = false;
let world: VaultCloud;
/** As `world`, but identity's answers are cached for ten minutes. */
let remembering: VaultCloud;
before(async () => {
  world = await startVaultCloud({
    engine: (engine) => ({
      ...engine,
      async unwrap(key, job) {
        await rsa.pass();
        return engine.unwrap(key, job);
      },
    }),
    store: (store): EventStore => ({
      ...store,
      async getStates(table, ids) {
        if (table.category === 'key') await stateRead.pass();
        return store.getStates(table, ids);
      },
    }),
    bus: (bus): Bus => ({
      ...bus,
      async publish(subject, ...message) {
        if (isIdentityCutOff && subject.includes('identity')) throw new Error('cut off');
        return bus.publish(subject, ...message);
      },
    }),
  });
  remembering = await startVaultCloud({ authzTtlMs: 600_000 });
});
after(async () => {
  await world.close();
  await remembering.close();
});

const setUp = async (cloud: VaultCloud, role = false) => {
  const identity = await cloud.newManagedIdentity();
  const parent = await newVault(cloud, { role });
  const scope = `subscriptions/s1/resourceGroups/g/${parent}`;
  if (role) await cloud.assignRole(cloud.administrator.name, 'roles/keyVaultAdministrator', scope);
  const grant = () =>
    role
      ? cloud.assignRole(identity.name, 'roles/keyVaultCryptoServiceEncryptionUser', scope)
      : cloud.vault().setAccessPolicy({
          name: parent,
          accessPolicy: { principal: identity.name, keyPermissions: ['GET', 'WRAP_KEY', 'UNWRAP_KEY'] },
        });
  const granted = await grant();
  const { name } = await cloud.vault().createKey({ parent, keyId: 'k', requestId: randomUUID() });
  const { wrappedKey } = await identity.vault.wrapKey({ name, algorithm, plaintextKey: Buffer.alloc(32, 1) });
  const check = (vault: VaultClient = identity.vault) =>
    vault.checkAccess({ keyVersion: name, wrappedProbe: wrappedKey, algorithm });
  const unwrap = () => identity.vault.unwrapKey({ name, algorithm, wrappedKey });
  return { identity, parent, name, grant, assignment: typeof granted === 'string' ? granted : '', check, unwrap };
};

/** Number of the newest event of a stream with that type. */
const numberOf = async (cloud: VaultCloud, stream: `${string}-${string}`, type: string): Promise<number> =>
  (await cloud.store.read(stream)).findLast((event) => event.type === type)?.position ?? 0;
const epochOfRefusal = async (call: Promise<unknown>): Promise<number> => {
  const error: unknown = await call.then(
    () => undefined,
    (thrown: unknown) => thrown,
  );
  assert.ok(error instanceof Rejection, `refused, and not ${String(error)}`);
  return Number(error.metadata.access_epoch);
};

test('G1: a grant decided before a loss has an epoch below the loss, however late it is sent', async () => {
  const { name, check, unwrap } = await setUp(world);
  for (const call of [check, unwrap]) {
    const held = rsa.shut();
    const answer = call();
    await held;
    await world.vault().disableKeyVersion({ name });
    rsa.open();
    const loss = await numberOf(world, `key-${name.split('/versions/')[0]}`, 'KeyVersionDisabled');
    // The key may be evicted meanwhile; then the vault decides again and refuses.
    const epoch = await answer.then(
      ({ accessEpoch }) => accessEpoch,
      (error: Rejection) => (error.reason === 'KEY_DISABLED' ? 0 : assert.fail(error)),
    );
    assert.ok(epoch < loss, `answered as of ${epoch}, lost at ${loss}`);
    assert.ok((await epochOfRefusal(call())) >= loss);
    await world.vault().enableKeyVersion({ name });
    assert.ok((await check()).accessEpoch > loss);
  }
});

test('G10, KV-15: a use judged before its key was purged is refused with KEY_PURGED, the access epoch and since', async () => {
  const { name, check, unwrap } = await setUp(world);
  const [key = ''] = name.split('/versions/');
  const held = rsa.shut();
  const refused = [unwrap(), check()].map((use) =>
    use.then(
      () => assert.fail('its private key is gone'),
      (thrown: unknown) => thrown,
    ),
  );
  await held;
  await world.vault().deleteKey({ name: key, confirmName: key });
  await world.vault().purgeKey({ name: key, confirmName: key });
  rsa.open();
  const loss = await numberOf(world, `key-${key}`, 'KeyPurged');
  for (const error of await Promise.all(refused)) {
    assert.ok(error instanceof Rejection, String(error));
    assert.equal(error.reason, 'KEY_PURGED');
    assert.ok(Number(error.metadata.access_epoch) >= loss && error.metadata.since !== undefined);
  }
});

test('G1: the epoch of a refusal is at or above its loss, even if the loss is committed while the state is read', async () => {
  const { name, check } = await setUp(world);
  const held = stateRead.shut();
  const refused = epochOfRefusal(check());
  await held;
  const { state, version } = await readKey(name);
  // Not through the service: its own reads are blocked too.
  await world.store.commit(
    {
      appends: [
        {
          stream: `key-${state}`,
          expected: version,
          events: [{ type: 'KeyVersionDisabled', schema: 1, data: { version: name.slice(-32), at: 1 } }],
        },
      ],
      rows: [{ table: 'key_v1', key: state, row: null, version: version + 1, removed: [], added: [] }],
    },
    { correlationId: 'c', causes: [], caller: 'system:test' },
  );
  stateRead.open();
  const loss = await numberOf(world, `key-${state}`, 'KeyVersionDisabled');
  assert.ok((await refused) >= loss);
});

const readKey = async (name: string) => {
  const state = name.split('/versions/')[0] ?? '';
  return { state, version: (await world.store.read(`key-${state}`)).length };
};

test('G1: a loss at identity gets an epoch before its fact arrives, and restored access gets none below it', async () => {
  const { check, grant, assignment } = await setUp(world, true);
  isIdentityCutOff = true;
  try {
    let given = assignment;
    let last = 0;
    for (let turn = 0; turn < 3; turn += 1) {
      const { accessEpoch } = await check();
      assert.ok(accessEpoch >= last, `turn ${turn}: a yes at ${accessEpoch} after a loss at ${last}`);
      await world.identity.deleteRoleAssignment({ name: given });
      last = await epochOfRefusal(check());
      assert.ok(last > accessEpoch, `turn ${turn}: lost at ${last}, granted at ${accessEpoch}`);
      const head = await world.store.head();
      await epochOfRefusal(check());
      assert.equal(await world.store.head(), head, 'the same refusal again is not noted again');
      given = String(await grant());
    }
  } finally {
    isIdentityCutOff = false;
  }
});

test('G1: after one replica commits a loss, no replica grants access', async () => {
  const { identity, name, check } = await setUp(remembering);
  const other = identity.at(await remembering.newReplica());
  await Promise.all([check(), check(other)]);
  await remembering.vault().disableKeyVersion({ name });
  await Promise.all([epochOfRefusal(check()), epochOfRefusal(check(other))]);
});

test('G1: a replica ignores its cached answer of identity after another replica received a change', async () => {
  const { identity, check, assignment, parent } = await setUp(remembering, true);
  const other = identity.at(await remembering.newReplica());
  await Promise.all([check(), check(other)]);
  await remembering.identity.deleteRoleAssignment({ name: assignment });
  const stream = `vault-${parent.slice('vaults/'.length)}` as const;
  await until(async () =>
    (await remembering.store.read(stream)).some(
      ({ type, data }) => type === 'GrantsChanged' && data.source === assignment && data.removed === true,
    ),
  );
  const loss = await numberOf(remembering, stream, 'GrantsChanged');
  for (const vault of [identity.vault, other]) assert.ok((await epochOfRefusal(check(vault))) >= loss);
});
