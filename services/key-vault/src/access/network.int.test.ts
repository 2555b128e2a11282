import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import type { NetworkRules } from '@interlock/contracts/interlock/key_vault/v1/vault.ts';
import { Rejection } from '@interlock/event-store';
import { stateClientAddress } from '@interlock/rpc';
import { newVault, startVaultCloud, type VaultClient, type VaultCloud } from '../testing/test-vault-cloud.ts';

const clientAddressKey = 'key';
let world: VaultCloud;
before(async () => {
  world = await startVaultCloud({ settings: { clientAddressKey } });
});
after(() => world.close());

const closed: NetworkRules = {
  defaultAction: 'DENY',
  bypassTrustedServices: true,
  ipRules: ['192.0.2.0/24'],
  publicAccessDisabled: false,
};
const from = (address: string) => ({ metadata: stateClientAddress(clientAddressKey, address) });
const algorithm = 'RSA_OAEP_256';

/** A vault with a key, and a managed identity that may use it, as a disk does. */
const vaultWithKey = async () => {
  const name = await newVault(world);
  const { name: version } = await world.vault().createKey({ parent: name, keyId: 'k1', requestId: randomUUID() });
  const identity = await world.newManagedIdentity();
  const accessPolicy = { principal: identity.name, keyPermissions: ['GET', 'WRAP_KEY', 'UNWRAP_KEY'] } as const;
  await world
    .vault()
    .setAccessPolicy({ name, accessPolicy: { ...accessPolicy, keyPermissions: [...accessPolicy.keyPermissions] } });
  return { name, version, identity };
};

const refusalOf = async (call: Promise<unknown>): Promise<Rejection> => {
  const error = await call.then(
    () => assert.fail('the call was not refused'),
    (failure: unknown) => failure,
  );
  assert.ok(error instanceof Rejection, String(error));
  return error;
};

const check = (vault: VaultClient, keyVersion: string) => vault.checkAccess({ keyVersion });

test('KV-84: a firewall admits only the addresses in its rules, whatever the grants', async () => {
  const { name, version } = await vaultWithKey();
  const shown = await world.vault().setNetworkRules({ name, networkRules: closed });
  assert.deepEqual(shown.networkRules, closed);
  await world.vault().getKeyVersion({ name: version }, from('192.0.2.7'));
  const refusal = await refusalOf(world.vault().getKeyVersion({ name: version }, from('198.51.100.1')));
  assert.deepEqual(
    [refusal.code, refusal.reason, refusal.metadata.network],
    ['PERMISSION_DENIED', 'ACCESS_DENIED', 'firewall'],
  );
  assert.match(
    refusal.message,
    /^Client address \(198\.51\.100\.1\) is not authorized and caller is not a trusted service/,
  );
  // A call without a proven address has an unknown address. The network is checked before grants and existence.
  assert.equal((await refusalOf(world.vault().listKeys({ parent: name }))).metadata.network, 'firewall');
  const other = world.vault(await world.newPrincipal());
  const missing = other.getKey({ name: `${name}/keys/none` }, from('198.51.100.1'));
  assert.equal((await refusalOf(missing)).metadata.network, 'firewall');
  // Management of the vault is not behind its firewall.
  await world.vault().setNetworkRules({ name });
  await world.vault().getKeyVersion({ name: version });
});

test('KV-84: concurrent calls from different addresses are judged separately', async () => {
  const { name, version } = await vaultWithKey();
  await world.vault().setNetworkRules({ name, networkRules: closed });
  const wrap = (address: string) =>
    world.vault().wrapKey({ name: version, algorithm, plaintextKey: Buffer.from('dek') }, from(address));
  const ends = await Promise.allSettled([wrap('192.0.2.7'), wrap('198.51.100.1'), wrap('192.0.2.8')]);
  assert.deepEqual(
    ends.map(({ status }) => status),
    ['fulfilled', 'rejected', 'fulfilled'],
  );
});

test('KV-85: with public access disabled, every client address is refused, and the identity of a set still passes', async () => {
  const { name, version, identity } = await vaultWithKey();
  await world.vault().setNetworkRules({ name, networkRules: { ...closed, publicAccessDisabled: true } });
  const refusal = await refusalOf(world.vault().getKeyVersion({ name: version }, from('192.0.2.7')));
  assert.equal(refusal.metadata.network, 'connection');
  assert.match(refusal.message, /Public network access is disabled/);
  await check(identity.vault, version);
});

test('KV-86: a cloud service that is not trusted is refused, and the refusal names it', async () => {
  const { name, version } = await vaultWithKey();
  await world.vault().setNetworkRules({ name, networkRules: { ...closed, ipRules: [] } });
  const refusal = await refusalOf(world.vault(world.disk).getKeyVersion({ name: version }));
  assert.equal(refusal.metadata.network, 'service');
  assert.match(refusal.message, /^Access denied to first party service disk/);
});

test('CMK-29, G1: the identity of a set passes with bypass; without bypass it loses access at the epoch of the change', async () => {
  const { name, version, identity } = await vaultWithKey();
  await world.vault().setNetworkRules({ name, networkRules: closed });
  const granted = await check(identity.vault, version);
  const bypassTrustedServices = false;
  await world.vault().setNetworkRules({ name, networkRules: { ...closed, bypassTrustedServices } });
  const refusal = await refusalOf(check(identity.vault, version));
  assert.equal(refusal.reason, 'ACCESS_DENIED');
  assert.ok(Number(refusal.metadata.access_epoch) > granted.accessEpoch);
  assert.ok(refusal.metadata.since !== undefined && refusal.metadata.event !== undefined, 'names its cause (G10)');
  await world.vault().setNetworkRules({ name, networkRules: closed });
  const again = await check(identity.vault, version);
  assert.ok(again.accessEpoch > Number(refusal.metadata.access_epoch));
});

test("CMK-29: closing the network of a vault whose key protects data must be confirmed with the vault's name", async () => {
  const { name, version, identity } = await vaultWithKey();
  await identity.vault.wrapKey({ name: version, algorithm, plaintextKey: Buffer.from('dek') });
  const networkRules = { ...closed, bypassTrustedServices: false };
  await assert.rejects(world.vault().setNetworkRules({ name, networkRules }), { reason: 'VAULT_IN_USE' });
  await world.vault().setNetworkRules({ name, networkRules, confirmName: name });
});
