import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { category } from '@interlock/event-store';
import { createVersion } from '../key/decider.ts';
import { type Key, keys as keyStreams, versionOf } from '../key/key.ts';
import { newVault, startVaultCloud, type VaultCloud } from '../testing/test-vault-cloud.ts';

let world: VaultCloud;
before(async () => {
  world = await startVaultCloud();
});
after(() => world?.close());

const find = (keyVersion: string) => world.vault(world.diskEncryptionSet).findNewerKeyVersion({ keyVersion });

test('CMK-81: the newest usable version is found, never an older one; an unusable newer version is named', async () => {
  const parent = await newVault(world);
  const next = async (): Promise<string> =>
    (await world.vault().createKey({ parent, keyId: 'k', requestId: randomUUID() })).name;
  const first = await next();
  assert.deepEqual(await find(first), {
    newer: undefined,
    unusableKeyVersion: '',
    unusableReason: 'KEY_ACCESS_REASON_UNSPECIFIED',
  });
  const second = await next();
  const third = await next();
  assert.equal((await find(first)).newer?.keyVersion, third);
  assert.equal((await find(third)).newer, undefined, 'nothing is newer than the newest');
  await world.vault().disableKeyVersion({ name: third });
  const passedOver = await find(first);
  assert.deepEqual(
    [passedOver.newer?.keyVersion, passedOver.unusableKeyVersion, passedOver.unusableReason],
    [second, third, 'KEY_DISABLED'],
  );
  await world.vault().setKeyVersionDates({ name: second, notBefore: new Date(Date.now() + 3_600_000) });
  const none = await find(first);
  assert.deepEqual([none.newer, none.unusableReason], [undefined, 'KEY_DISABLED']);
  await world.vault().deleteKey({ name: first.split('/versions/')[0] ?? '' });
  await assert.rejects(find(first), { code: 'FAILED_PRECONDITION', reason: 'KEY_DELETED' });
});

test('CMK-81: the order in which versions were created counts, not the clocks of the replicas that created them', async () => {
  const parent = await newVault(world);
  const key = `${parent}/keys/k`;
  const next = async (): Promise<string> =>
    (await world.vault().createKey({ parent, keyId: 'k', requestId: randomUUID() })).name;
  const first = await next();
  // By a replica whose clock is behind.
  const version = 'b'.repeat(32);
  const behind = (state: Key) => {
    const made = versionOf(state, first.slice(-32)) ?? assert.fail('it was made');
    const { bits, n, e, origin, enabled, operations, tags } = made;
    const material = { version, materialId: `${key}/versions/${version}`, bits, n, e, origin };
    const asked = { requestId: randomUUID(), digest: '' };
    return createVersion(made.createdAt - 50, asked, { ...material, enabled, operations, tags })(state);
  };
  const cause = { correlationId: 'c', causes: [], caller: 'system:test' };
  await category(world.store, keyStreams).transact(key, behind, cause);
  const second = `${key}/versions/${version}`;
  const third = await next();
  await world.vault().disableKeyVersion({ name: third });
  assert.equal((await find(first)).newer?.keyVersion, second);
  const newest = await find(second);
  assert.deepEqual([newest.newer, newest.unusableKeyVersion], [undefined, third]);
});
