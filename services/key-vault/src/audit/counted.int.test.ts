import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { KeyVaultServiceDefinition } from '@interlock/contracts/interlock/key_vault/v1/key_vault.ts';
import { Rejection } from '@interlock/event-store';
import { newVault, startVaultCloud, until, type VaultCloud } from '../testing/test-vault-cloud.ts';

const perSecond = 20;
const burst = 40;
let rsaJobs = 0;
let world: VaultCloud;
before(async () => {
  world = await startVaultCloud({
    settings: {
      rateLimits: { principal: { perSecond, burst }, vault: { perSecond: 10, burst: 60 }, countWindowMs: 100 },
    },
    engine: (engine) => ({
      ...engine,
      wrap(key, job) {
        rsaJobs += 1;
        return engine.wrap(key, job);
      },
    }),
  });
});
after(() => world.close());

const algorithm = 'RSA_OAEP_256';
/** A flood is slow on busy processors. */
const patient = { deadlineMs: 120_000 };

/** A vault with a key, and as many sets' identities that may use it. */
const setUp = async (identities: number) => {
  const parent = await newVault(world);
  const { name } = await world.vault().createKey({ parent, keyId: 'k', requestId: randomUUID() });
  const members = [];
  for (let index = 0; index < identities; index += 1) {
    const identity = await world.newManagedIdentity();
    const keyPermissions = ['GET', 'WRAP_KEY', 'UNWRAP_KEY'] as const;
    const accessPolicy = { principal: identity.name, keyPermissions: [...keyPermissions] };
    await world.vault().setAccessPolicy({ name: parent, accessPolicy });
    const wrap = () => identity.vault.wrapKey({ name, algorithm, plaintextKey: Buffer.alloc(32, 1) }, patient);
    const check = () => identity.vault.checkAccess({ keyVersion: name }, patient);
    members.push({ identity, wrap, check });
  }
  return { parent, name, members };
};
const outcomesOf = async (calls: readonly Promise<unknown>[]) => {
  const settled = await Promise.allSettled(calls);
  const refused = settled.flatMap((one) => (one.status === 'rejected' ? [one.reason] : []));
  for (const error of refused) {
    assert.ok(error instanceof Rejection && error.reason === 'THROTTLED', String(error));
    assert.equal(error.code, 'RESOURCE_EXHAUSTED');
    assert.ok(Number(error.metadata.retryAfterMs) >= 1);
  }
  return { answered: settled.length - refused.length, refused: refused.length };
};
const countsOf = async (parent: string, principal: string, reason: string) => {
  const { auditEntries } = await world.vault().listAuditEntries({ parent, principal, pageSize: 1_000 });
  const entries = auditEntries.filter((entry) => entry.reason === reason);
  return { entries: entries.length, refusals: entries.reduce((sum, { occurrenceCount }) => sum + occurrenceCount, 0) };
};

test('KV-95, KV-100, G9: calls over the limit do no RSA work, and their refusals are recorded as counts', async () => {
  const { parent, members } = await setUp(1);
  const [flooder] = members;
  assert.ok(flooder);
  rsaJobs = 0;
  const { answered, refused } = await outcomesOf(Array.from({ length: 500 }, flooder.wrap));
  assert.ok(answered >= burst && refused > 0, `${answered} answered`);
  assert.equal(rsaJobs, answered);
  await until(async () => (await countsOf(parent, flooder.identity.name, 'THROTTLED')).refusals === refused);
  const { entries } = await countsOf(parent, flooder.identity.name, 'THROTTLED');
  assert.ok(entries < 20, `${entries} entries for ${refused} refusals`);
});

test("KV-95: access checks of a set are not throttled by a flood of wraps in its vault or of another set's checks", async () => {
  const { members } = await setUp(3);
  const [wrapping, checking, steady] = members;
  assert.ok(wrapping && checking && steady);
  const flood = outcomesOf([
    ...Array.from({ length: 300 }, wrapping.wrap),
    ...Array.from({ length: 300 }, checking.check),
  ]);
  for (let renewal = 0; renewal < 20; renewal += 1) await steady.check();
  const { refused } = await flood;
  assert.ok(refused > 0);
  // Its own flood of wraps leaves a set its renewals too.
  await wrapping.check();
});

test('KV-95: disabling a key version is admitted while its vault is flooded', async () => {
  const { name, members } = await setUp(2);
  // Some of these calls arrive after the disable and are refused for it.
  const flood = Promise.allSettled(members.flatMap(({ wrap }) => Array.from({ length: 200 }, wrap)));
  await world.vault().disableKeyVersion({ name });
  const late = members.map(({ check }) => check());
  for (const outcome of await Promise.allSettled(late)) {
    assert.equal(outcome.status === 'rejected' && outcome.reason.reason, 'KEY_DISABLED');
  }
  await flood;
});

test('KV-114: calls without a valid token are counted above the audit limit, and each is refused with its reason', async () => {
  const { parent, name } = await setUp(0);
  const credentials = { token: async () => 'no-token', refused: () => {} };
  const anonymous = world.cloud.as(world.administrator).client('key-vault', KeyVaultServiceDefinition, { credentials });
  const calls = Array.from({ length: 200 }, () => anonymous.getKeyVersion({ name }));
  for (const outcome of await Promise.allSettled(calls)) {
    assert.equal(outcome.status === 'rejected' && outcome.reason.reason, 'TOKEN_MALFORMED');
  }
  await until(async () => (await countsOf(parent, '', 'TOKEN_MALFORMED')).refusals === 200);
  assert.ok((await countsOf(parent, '', 'TOKEN_MALFORMED')).entries < 200);
});
