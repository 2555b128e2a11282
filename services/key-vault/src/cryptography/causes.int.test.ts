import assert from 'node:assert/strict';
import { randomBytes, randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { inSpan, systemRandom, traceIdOf } from '@interlock/runtime';
import { startTelemetry, type Telemetry } from '@interlock/runtime/telemetry';
import { newVault, startVaultCloud, until, type VaultCloud } from '../testing/test-vault-cloud.ts';

let telemetry: Telemetry;
let world: VaultCloud;
before(async () => {
  telemetry = startTelemetry({ service: 'test', random: systemRandom });
  world = await startVaultCloud({ tracer: telemetry.tracer });
});
after(async () => {
  await world.close();
  await telemetry.shutdown();
});

const algorithm = 'RSA_OAEP_256';
const diskEncryptionSet = 'subscriptions/s1/resourceGroups/g/diskEncryptionSets/d';
const group = 'subscriptions/s1/resourceGroups/g';
const everything = ['GET', 'WRAP_KEY', 'UNWRAP_KEY'] as const;

/** A set's identity that may use a key, with a wrapped DEK; `role`: through a role instead of an access policy. */
const setUp = async (role: boolean) => {
  const vault = world.vault();
  const identity = await world.newManagedIdentity();
  const elsewhere = await newVault(world);
  const parent = await newVault(world, { role });
  const scope = `${group}/${parent}`;
  if (role) await world.assignRole(world.administrator.name, 'roles/keyVaultAdministrator', scope);
  const allow = (name: string, keyPermissions: readonly (typeof everything)[number][]) =>
    vault.setAccessPolicy({ name, accessPolicy: { principal: identity.name, keyPermissions: [...keyPermissions] } });
  await allow(elsewhere, everything);
  const assignment = role
    ? await world.assignRole(identity.name, 'roles/keyVaultCryptoServiceEncryptionUser', scope)
    : undefined;
  if (!role) await allow(parent, everything);
  const newKey = (of: string) => vault.createKey({ parent: of, keyId: 'k', requestId: randomUUID() });
  const { name } = await newKey(parent);
  const { name: other } = await newKey(elsewhere);
  const wrap = (version: string) =>
    identity.vault.wrapKey({ name: version, algorithm, plaintextKey: Buffer.alloc(32, 7) });
  const { wrappedKey } = await wrap(name);
  const { wrappedKey: wrappedElsewhere } = await wrap(other);
  const moved = { algorithm, diskEncryptionSet, resource: 'disks/d' } as const;
  const calls = (version: string) => ({
    check: () => identity.vault.checkAccess({ keyVersion: version, wrappedProbe: wrappedKey, algorithm }),
    wrap: () => wrap(version),
    unwrap: () => identity.vault.unwrapKey({ name: version, algorithm, wrappedKey }),
    rewrapFrom: () =>
      identity.vault.rewrap({ ...moved, sourceKeyVersion: version, targetKeyVersion: other, wrappedKey }),
    rewrapInto: () =>
      identity.vault.rewrap({
        ...moved,
        sourceKeyVersion: other,
        targetKeyVersion: version,
        wrappedKey: wrappedElsewhere,
      }),
  });
  return { vault, identity, parent, key: `${parent}/keys/k`, name, scope, assignment, allow, calls };
};
type Subject = Awaited<ReturnType<typeof setUp>>;
type CallName = keyof ReturnType<Subject['calls']>;

interface Cause {
  readonly cause: string;
  readonly role?: boolean;
  /** What comes before the commit that takes access away. */
  readonly prepare?: (subject: Subject) => Promise<unknown>;
  readonly take: (subject: Subject) => Promise<unknown>;
  /** One reason for every call; or by call, where `undefined` means that it still succeeds. */
  readonly reason: string | Readonly<Record<CallName, string | undefined>>;
  /** The version to call with, if it is not the subject's. */
  readonly version?: (subject: Subject) => string;
  /** The caller never had access, so nothing took it away. */
  readonly isWithoutOrigin?: boolean;
}

/** Dates do not prevent the use of what exists (KV-13). */
const byDates = (reason: string) => ({
  check: reason,
  wrap: reason,
  unwrap: undefined,
  rewrapFrom: undefined,
  rewrapInto: reason,
});
/** A set needs all permissions: without one of them it cannot use the key (CMK-10, CMK-25). */
const lacking = (...refused: readonly ('wrap' | 'unwrap')[]) => {
  const reasonOf = (call: 'wrap' | 'unwrap') => (refused.includes(call) ? 'ACCESS_DENIED' : undefined);
  return {
    check: 'ACCESS_DENIED',
    wrap: reasonOf('wrap'),
    unwrap: reasonOf('unwrap'),
    rewrapFrom: 'ACCESS_DENIED',
    rewrapInto: 'ACCESS_DENIED',
  };
};
/** Data plane calls fail with KEY_OPERATION_NOT_ALLOWED, the calls of a set with ACCESS_DENIED (KV-88). */
const withheld = (...operations: readonly ('wrapKey' | 'unwrapKey')[]) => ({
  check: 'ACCESS_DENIED',
  wrap: operations.includes('wrapKey') ? 'KEY_OPERATION_NOT_ALLOWED' : undefined,
  unwrap: operations.includes('unwrapKey') ? 'KEY_OPERATION_NOT_ALLOWED' : undefined,
  rewrapFrom: 'ACCESS_DENIED',
  rewrapInto: 'ACCESS_DENIED',
});
const deleteKey = ({ vault, key }: Subject) => vault.deleteKey({ name: key, confirmName: key });
const deleteVault = ({ vault, parent }: Subject) => vault.deleteVault({ name: parent, confirmName: parent });

const causes: readonly Cause[] = [
  {
    cause: 'KV-12: version disabled',
    take: ({ vault, name }) => vault.disableKeyVersion({ name }),
    reason: 'KEY_DISABLED',
  },
  {
    cause: 'KV-13: not yet valid',
    take: ({ vault, name }) => vault.setKeyVersionDates({ name, notBefore: new Date(Date.now() + 3_600_000) }),
    reason: byDates('KEY_NOT_YET_VALID'),
  },
  {
    cause: 'KV-13: expired, by an expiry date in the past',
    take: ({ vault, name }) => vault.setKeyVersionDates({ name, expireTime: new Date(1_000) }),
    reason: byDates('KEY_EXPIRED'),
  },
  { cause: 'KV-14: key deleted', take: deleteKey, reason: 'KEY_DELETED' },
  {
    cause: 'KV-15: key purged',
    prepare: deleteKey,
    take: ({ vault, key }) => vault.purgeKey({ name: key, confirmName: key }),
    reason: 'KEY_PURGED',
  },
  {
    cause: 'KV-90: version unknown',
    take: async () => undefined,
    version: ({ key }) => `${key}/versions/${'0'.repeat(32)}`,
    reason: 'KEY_VERSION_NOT_FOUND',
    isWithoutOrigin: true,
  },
  { cause: 'KV-66: vault deleted', take: deleteVault, reason: 'VAULT_DELETED' },
  {
    cause: 'KV-66: vault purged',
    prepare: deleteVault,
    take: ({ vault, parent }) => vault.purgeVault({ name: parent, confirmName: parent }),
    reason: 'KEY_PURGED',
  },
  {
    cause: 'CMK-133: vault deleted and recovered, its roles lost',
    role: true,
    take: deleteVault,
    reason: 'ACCESS_DENIED',
  },
  {
    cause: 'KV-82: access policy removed',
    take: ({ vault, parent, identity }) => vault.removeAccessPolicy({ name: parent, principal: identity.name }),
    reason: 'ACCESS_DENIED',
  },
  {
    cause: 'KV-83: role removed',
    role: true,
    take: ({ assignment }) => world.identity.deleteRoleAssignment({ name: assignment ?? '' }),
    reason: 'ACCESS_DENIED',
  },
  {
    cause: 'CMK-25: get alone missing',
    take: ({ allow, parent }) => allow(parent, ['WRAP_KEY', 'UNWRAP_KEY']),
    reason: lacking(),
  },
  {
    cause: 'CMK-25: wrapKey alone missing',
    take: ({ allow, parent }) => allow(parent, ['GET', 'UNWRAP_KEY']),
    reason: lacking('wrap'),
  },
  {
    cause: 'CMK-25: unwrapKey alone missing',
    take: ({ allow, parent }) => allow(parent, ['GET', 'WRAP_KEY']),
    reason: lacking('unwrap'),
  },
  {
    cause: 'KV-88: wrapKey removed from the operations of the version',
    take: ({ vault, name }) => vault.setKeyOperations({ name, keyOperations: ['UNWRAP_KEY', 'SIGN'] }),
    reason: withheld('wrapKey'),
  },
  {
    cause: 'KV-88: unwrapKey removed from the operations of the version',
    role: true,
    take: ({ vault, name }) => vault.setKeyOperations({ name, keyOperations: ['WRAP_KEY'] }),
    reason: withheld('unwrapKey'),
  },
  {
    cause: 'KV-88: all operations removed, unwrapKey before wrapKey',
    take: async ({ vault, name }) => {
      await vault.setKeyOperations({ name, keyOperations: ['WRAP_KEY'] });
      await vault.setKeyOperations({ name, keyOperations: [] });
    },
    reason: withheld('wrapKey', 'unwrapKey'),
  },
  {
    cause: 'CMK-27: vault changed from access policies to roles',
    take: ({ vault, parent }) =>
      vault.setPermissionModel({ name: parent, permissionModel: 'ROLE_ASSIGNMENT', confirmName: parent }),
    reason: 'ACCESS_DENIED',
  },
  {
    cause: 'CMK-27: vault changed from roles to access policies',
    role: true,
    take: ({ vault, parent }) =>
      vault.setPermissionModel({ name: parent, permissionModel: 'ACCESS_POLICY', confirmName: parent }),
    reason: 'ACCESS_DENIED',
  },
  {
    cause: 'CMK-39: managed identity deleted',
    take: ({ identity }) => world.identity.deletePrincipal({ name: identity.name, confirmName: identity.name }),
    reason: 'IDENTITY_DELETED',
  },
  {
    cause: 'CMK-39: managed identity with a role deleted',
    role: true,
    take: ({ identity }) => world.identity.deletePrincipal({ name: identity.name, confirmName: identity.name }),
    reason: 'IDENTITY_DELETED',
  },
];

const refusalOf = async (call: () => Promise<unknown>): Promise<Rejection | undefined> => {
  try {
    await call();
    return undefined;
  } catch (error) {
    assert.ok(error instanceof Rejection, String(error));
    return error;
  }
};

for (const { cause, role = false, prepare, take, reason, version, isWithoutOrigin = false } of causes) {
  test(`G10: ${cause}: every refusal has the key version, the access epoch, and time and trace of the cause`, async () => {
    const subject = await setUp(role);
    const asked = version?.(subject) ?? subject.name;
    const calls = subject.calls(asked);
    const granted = version ? undefined : await calls.check();
    await prepare?.(subject);
    const earliest = Date.now();
    const traceId = await inSpan(telemetry.tracer, 'take', {}, async (span) => {
      await take(subject);
      return span.spanContext().traceId;
    });
    const latest = Date.now();
    if (cause.startsWith('CMK-133')) {
      await until(
        async () => (await world.identity.listRoleAssignments({ scope: subject.scope })).roleAssignments.length === 0,
      );
      await subject.vault.recoverVault({ name: subject.parent });
    }
    for (const [name, call] of Object.entries(calls) as [CallName, () => Promise<unknown>][]) {
      const expected = typeof reason === 'string' ? reason : reason[name];
      const refused = await refusalOf(call);
      assert.equal(refused?.reason, expected, name);
      if (!refused) continue;
      const { metadata } = refused;
      // A deleted identity is refused at the first of two keys.
      if (expected !== 'IDENTITY_DELETED') assert.equal(metadata.key_version, asked, name);
      if (granted) assert.ok(Number(metadata.access_epoch) > granted.accessEpoch, `${name}: ${metadata.access_epoch}`);
      else assert.match(metadata.access_epoch ?? '', /^[0-9]+$/);
      assert.equal(metadata.since !== undefined, !isWithoutOrigin, name);
      if (isWithoutOrigin) continue;
      // A change at identity arrives as a fact. Until then, the first request that met it counts as the cause.
      await until(async () => (await refusalOf(call))?.metadata.trace_id === traceId);
      assert.equal(traceIdOf((await refusalOf(call))?.metadata.traceparent), traceId, name);
      const since = Date.parse((await refusalOf(call))?.metadata.since ?? '');
      assert.ok(since >= earliest, `${name}: since ${since}, taken from ${earliest} on`);
      if (!refused.reason.startsWith('IDENTITY') && !role) assert.ok(since <= latest, name);
    }
  });
}

test('G10: a permitted caller gets the first of several reasons in the order of precedence', async () => {
  const subject = await setUp(false);
  const { vault, name, key, parent, allow, calls } = subject;
  const reason = async () => (await refusalOf(calls(name).check))?.reason;
  await vault.setKeyVersionDates({ name, expireTime: new Date(1_000) });
  await allow(parent, ['GET']);
  assert.equal(await reason(), 'KEY_EXPIRED');
  await vault.disableKeyVersion({ name });
  assert.equal(await reason(), 'KEY_DISABLED');
  await vault.enableKeyVersion({ name });
  await vault.setKeyVersionDates({ name });
  await vault.deleteKey({ name: key, confirmName: key });
  assert.equal(await reason(), 'KEY_DELETED');
  await vault.recoverKey({ name: key });
  assert.equal(await reason(), 'ACCESS_DENIED');
  await vault.disableKeyVersion({ name });
  await vault.removeAccessPolicy({ name: parent, principal: subject.identity.name });
  assert.equal(await reason(), 'ACCESS_DENIED');
});

test('KV-88: restored operations restore access; if a grant is missing too, the refusal names the grant', async () => {
  const { vault, name, parent, allow, calls } = await setUp(false);
  const { check } = calls(name);
  await vault.setKeyOperations({ name, keyOperations: ['WRAP_KEY'] });
  const refused = await refusalOf(check);
  assert.deepEqual([refused?.code, refused?.metadata.operation], ['PERMISSION_DENIED', 'unwrapKey']);
  await allow(parent, ['GET', 'WRAP_KEY']);
  assert.deepEqual((await refusalOf(check))?.metadata.permission, 'unwrapKey');
  await allow(parent, everything);
  await vault.setKeyOperations({ name, keyOperations: ['UNWRAP_KEY', 'WRAP_KEY'] });
  assert.ok((await check()).accessEpoch > Number(refused?.metadata.access_epoch));
});

test('G10: an identity that was never granted anything is refused without a since: no access was taken away', async () => {
  const { name } = await setUp(false);
  const stranger = await world.newManagedIdentity();
  const refused = await refusalOf(() => stranger.vault.unwrapKey({ name, algorithm, wrappedKey: randomBytes(256) }));
  assert.equal(refused?.reason, 'ACCESS_DENIED');
  assert.deepEqual([refused.metadata.since, refused.metadata.trace_id], [undefined, undefined]);
});
