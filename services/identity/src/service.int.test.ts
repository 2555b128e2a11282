import assert from 'node:assert/strict';
import { randomUUID } from 'node:crypto';
import { after, before, test } from 'node:test';
import { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import { type EventStore, openPostgresStore } from '@interlock/event-store';
import { createTestDatabase, type TestDatabase } from '@interlock/event-store/test-database';
import { type InProcessCloud, inProcessCloud, workloads } from '@interlock/host';
import { openTestBus } from '@interlock/messaging/test-bus';
import { logger, systemClock, systemRandom } from '@interlock/runtime';
import { masterKey } from '@interlock/sealing';
import { trace } from '@opentelemetry/api';
import { decodeJwt, decodeProtectedHeader } from 'jose';
import { assemble } from './assemble.ts';
import type { Bootstrap } from './bootstrap/bootstrap.ts';
import { hashSecret } from './token/tokens.ts';

const clock = systemClock;
const random = systemRandom;
const ids = { administrator: randomUUID(), disk: randomUUID(), identity: randomUUID(), des: randomUUID() };
const bootstrap: Bootstrap = {
  tenant: { id: 'main', displayName: 'Main' },
  subscriptions: [{ id: 's1', displayName: 'One' }],
  administrator: { principalId: ids.administrator, displayName: 'Administrator', secretHash: hashSecret('admin') },
  workloads: [
    { service: 'identity', principalId: ids.identity, secretHash: hashSecret('identity') },
    { service: 'disk', principalId: ids.disk, secretHash: hashSecret('disk') },
    { service: 'disk-encryption-set', principalId: ids.des, secretHash: hashSecret('des') },
  ],
  roleAssignments: [{ id: randomUUID(), principalId: ids.administrator, role: 'roles/owner', scope: '/' }],
};

let database: TestDatabase;
let store: EventStore;
/** Not a whole number of seconds. */
const managedIdentityMs = 1_250;
let cloud: InProcessCloud;
const closing: (() => Promise<unknown>)[] = [];
before(async () => {
  database = await createTestDatabase();
  store = await openPostgresStore({ url: database.url, clock });
  const bus = await openTestBus(workloads);
  const settings = {
    bootstrap,
    masterKey: masterKey(random.bytes(32)),
    issuer: 'https://identity.test',
    lifetimes: { userMs: 60_000, managedIdentityMs },
  };
  cloud = await inProcessCloud({
    services: { identity: (seams) => assemble({ ...seams, settings }) },
    storeOf: () => store,
    bus,
    workloadOf: () => ({ id: ids.identity, secret: 'identity' }),
    clock,
    random,
    log: logger({ service: 'test', clock }),
    tracer: trace.getTracer('test'),
    issuer: settings.issuer,
  });
  closing.push(
    () => cloud.close(),
    () => bus.close(),
    () => store.close(),
    () => database.drop(),
  );
});
after(async () => {
  for (const close of closing) await close();
});

const as = (id: string, secret: string) => cloud.as({ id, secret }).client('identity', IdentityServiceDefinition);
const admin = () => as(ids.administrator, 'admin');
const newPrincipal = async (type: 'USER' | 'APPLICATION' = 'APPLICATION') => {
  const principalId = randomUUID();
  const principal = await admin().createPrincipal({
    principalId,
    tenant: 'tenants/main',
    type,
    displayName: 'a user',
  });
  const { secretText } = await admin().addSecret({ principal: principal.name, secretId: 'one' });
  return { principal, id: principalId, secret: secretText };
};

test('REST-82: a token names the principal, its tenant and its audience, signed with a published key', async () => {
  const { accessToken, expireTime } = await admin().issueToken({
    clientId: ids.disk,
    clientSecret: 'disk',
    audience: 'interlock:key-vault',
  });
  const claims = decodeJwt(accessToken);
  assert.deepEqual(
    {
      sub: claims.sub,
      oid: claims.oid,
      tid: claims.tid,
      aud: claims.aud,
      idtyp: claims.idtyp,
      workload: claims.workload,
      iss: claims.iss,
    },
    {
      sub: ids.disk,
      oid: ids.disk,
      tid: 'main',
      aud: 'interlock:key-vault',
      idtyp: 'workload',
      workload: 'disk',
      iss: 'https://identity.test',
    },
  );
  assert.equal(expireTime?.getTime(), Number(claims.exp) * 1000);
  const { keys } = await admin().getJsonWebKeySet({});
  assert.ok(keys.some((key) => key.kid === decodeProtectedHeader(accessToken).kid));
});

test('a wrong secret, an unknown client and an unknown audience get no token', async () => {
  const asked = { clientId: ids.disk, clientSecret: 'disk', audience: 'interlock:key-vault' };
  await assert.rejects(admin().issueToken({ ...asked, clientSecret: 'wrong' }), { reason: 'INVALID_CLIENT' });
  await assert.rejects(admin().issueToken({ ...asked, clientId: randomUUID() }), { reason: 'INVALID_CLIENT' });
  await assert.rejects(admin().issueToken({ ...asked, audience: 'interlock:unknown' }), { reason: 'INVALID_AUDIENCE' });
});

test('KV-74: the list of roles shows the exceptions of a role', async () => {
  const { roles } = await admin().listRoles({});
  const contributor = roles.find(({ name }) => name === 'roles/contributor');
  assert.deepEqual(contributor?.actions, ['*']);
  assert.ok(contributor.notActions.includes('identity/roleAssignments/write'), contributor.notActions.join());
  assert.deepEqual(roles.find(({ name }) => name === 'roles/owner')?.notActions, []);
});

test('after a rotation of the signing key older tokens stay valid, and a repeated request rotates nothing', async () => {
  const user = await newPrincipal();
  const client = as(user.id, user.secret);
  await client.listRoles({});
  const { signingKeys } = await admin().rotateSigningKey({ requestId: 'r1' });
  assert.deepEqual(
    signingKeys.map((key) => key.state),
    ['RETIRING', 'ACTIVE'],
  );
  assert.deepEqual((await admin().rotateSigningKey({ requestId: 'r1' })).signingKeys, signingKeys);
  await client.listRoles({});
  await as(user.id, user.secret).listRoles({});
});

test('a deleted principal is refused at the next check, though its token has not expired', async () => {
  const user = await newPrincipal();
  const client = as(user.id, user.secret);
  await assert.rejects(client.getTenant({ name: 'tenants/main' }), { reason: 'ACCESS_DENIED' });
  const { id: clientId, secret: clientSecret } = user;
  const { accessToken: token } = await admin().issueToken({ clientId, clientSecret, audience: 'interlock:identity' });
  await client.listRoles({}, { token });
  await admin().deletePrincipal({ name: user.principal.name });
  await assert.rejects(client.getTenant({ name: 'tenants/main' }), {
    code: 'UNAUTHENTICATED',
    reason: 'PRINCIPAL_DELETED',
  });
  for (const answeredToAll of [client.listRoles({}, { token }), client.listSubscriptions({}, { token })]) {
    await assert.rejects(answeredToAll, { code: 'UNAUTHENTICATED', reason: 'PRINCIPAL_DELETED' });
  }
  await assert.rejects(as(user.id, user.secret).listRoles({}), { reason: 'INVALID_CLIENT' });
});

test('a principal may check its own permissions, and no others; services check all', async () => {
  const [user, other] = [await newPrincipal(), await newPrincipal()];
  const own = as(user.id, user.secret);
  const asked = { action: 'compute/disks/read', scope: 'subscriptions/s1' };
  assert.equal((await own.checkPermission({ principal: user.principal.name, ...asked })).principalActive, true);
  const ofOther = { principal: other.principal.name, ...asked };
  await assert.rejects(own.checkPermission(ofOther), { code: 'PERMISSION_DENIED', reason: 'ACCESS_DENIED' });
  await assert.rejects(admin().checkPermission(ofOther), { reason: 'ACCESS_DENIED' });
  assert.equal((await as(ids.disk, 'disk').checkPermission(ofOther)).principalActive, true);
});

test('KV-73: a role allows actions at and under its scope only, until it is removed', async () => {
  const user = await newPrincipal();
  const roleAssignmentId = randomUUID();
  const request = {
    roleAssignmentId,
    principal: user.principal.name,
    role: 'roles/reader',
    scope: 'subscriptions/s1/resourceGroups/g',
  };
  const assignment = await admin().createRoleAssignment(request);
  assert.deepEqual(await admin().createRoleAssignment(request), assignment);
  await assert.rejects(admin().createRoleAssignment({ ...request, roleAssignmentId: randomUUID() }), {
    reason: 'ROLE_ASSIGNMENT_ALREADY_EXISTS',
  });
  const permission = (scope: string) =>
    as(ids.disk, 'disk').checkPermission({ principal: user.principal.name, action: 'compute/disks/read', scope });
  const check = async (scope: string) => (await permission(scope)).allowed;
  assert.equal(await check('subscriptions/s1/resourceGroups/g/disks/d'), true);
  assert.equal(await check('subscriptions/s1'), false);
  assert.equal(await check('subscriptions/s1/resourceGroups/g2'), false);
  const { roleAssignment, grantedAt, grantedActions, grantedNotActions } = await permission(
    'subscriptions/s1/resourceGroups/g/disks/d',
  );
  assert.deepEqual({ roleAssignment, grantedAt }, { roleAssignment: assignment.name, grantedAt: request.scope });
  assert.deepEqual(
    { grantedActions, grantedNotActions },
    { grantedActions: ['*/read'], grantedNotActions: ['keyVault/keys/*'] },
  );
  const wider = await admin().createRoleAssignment({
    ...request,
    roleAssignmentId: randomUUID(),
    scope: 'subscriptions/s1',
  });
  assert.equal((await permission('subscriptions/s1/resourceGroups/g/disks/d')).grantedAt, wider.scope);
  await admin().deleteRoleAssignment({ name: wider.name });
  const none = await permission('subscriptions/s1');
  assert.deepEqual([none.grantedAt, none.grantedActions, none.grantedNotActions], ['', [], []]);
  await admin().deleteRoleAssignment({ name: assignment.name });
  assert.equal(await check('subscriptions/s1/resourceGroups/g/disks/d'), false);
});

test('a role assigned to a principal of another tenant allows nothing', async () => {
  await admin().createTenant({ tenantId: 'other', displayName: 'Other' });
  const principalId = randomUUID();
  const stranger = await admin().createPrincipal({
    principalId,
    tenant: 'tenants/other',
    type: 'USER',
    displayName: 'stranger',
  });
  await admin().createRoleAssignment({
    roleAssignmentId: randomUUID(),
    principal: stranger.name,
    role: 'roles/owner',
    scope: 'subscriptions/s1',
  });
  const asked = { principal: stranger.name, action: 'compute/disks/read', scope: 'subscriptions/s1' };
  assert.equal((await as(ids.disk, 'disk').checkPermission(asked)).allowed, false);
});

test('KV-74: a principal that may not assign roles may not add secrets to one that has them', async () => {
  const [contributor, owner] = [await newPrincipal(), await newPrincipal()];
  for (const [{ principal }, role] of [
    [contributor, 'roles/contributor'],
    [owner, 'roles/owner'],
  ] as const) {
    const request = { principal: principal.name, role, scope: 'tenants/main' };
    await admin().createRoleAssignment({ roleAssignmentId: randomUUID(), ...request });
  }
  const asked = { principal: owner.principal.name, secretId: 'stolen' };
  await assert.rejects(as(contributor.id, contributor.secret).addSecret(asked), { reason: 'ACCESS_DENIED' });
  await as(owner.id, owner.secret).addSecret({ ...asked, secretId: 'own' });
});

test('the role assignments of a deleted principal are removed', async () => {
  const { principal } = await newPrincipal();
  const roleAssignmentId = randomUUID();
  await admin().createRoleAssignment({ roleAssignmentId, principal: principal.name, role: 'roles/reader', scope: '/' });
  await admin().deletePrincipal({ name: principal.name });
  await assert.rejects(admin().getRoleAssignment({ name: `roleAssignments/${roleAssignmentId}` }), {
    reason: 'ROLE_ASSIGNMENT_NOT_FOUND',
  });
});

test('no request can remove the last owner of the platform, and a second owner can be removed', async () => {
  const name = `principals/${ids.administrator}`;
  const ownRole = { name: `roleAssignments/${bootstrap.roleAssignments[0]?.id}` };
  const lastOwner = {
    code: 'FAILED_PRECONDITION',
    reason: 'LAST_PLATFORM_OWNER',
    message: /role assign .* --scope \//,
  };
  const { secrets } = await admin().getPrincipal({ name });
  await assert.rejects(admin().deletePrincipal({ name }), lastOwner);
  await assert.rejects(admin().deleteRoleAssignment(ownRole), lastOwner);
  await assert.rejects(admin().removeSecret({ principal: name, secretId: secrets[0]?.secretId ?? '' }), lastOwner);
  await assert.rejects(admin().deletePrincipal({ name, etag: '99' }), { reason: 'ETAG_MISMATCH' });

  // A user without a secret, and one with rights in the tenant only, could not manage the platform.
  const [unable, narrower, able] = [randomUUID(), await newPrincipal(), await newPrincipal()];
  await admin().createPrincipal({ principalId: unable, tenant: 'tenants/main', type: 'USER', displayName: 'unable' });
  for (const [principal, scope] of [
    [`principals/${unable}`, '/'],
    [narrower.principal.name, 'tenants/main'],
  ] as const) {
    const request = { principal, role: 'roles/owner', scope };
    await admin().createRoleAssignment({ roleAssignmentId: randomUUID(), ...request });
    await assert.rejects(admin().deletePrincipal({ name }), lastOwner);
  }
  const roleAssignmentId = randomUUID();
  const request = { principal: able.principal.name, role: 'roles/owner', scope: '/' };
  await admin().createRoleAssignment({ roleAssignmentId, ...request });
  await admin().deletePrincipal({ name: `principals/${unable}` });
  await as(able.id, able.secret).deleteRoleAssignment({ name: `roleAssignments/${roleAssignmentId}` });
  await admin().createRoleAssignment({ roleAssignmentId: randomUUID(), ...request });
  await admin().deletePrincipal({ name: able.principal.name });
  assert.equal((await admin().getPrincipal({ name })).state, 'ACTIVE');
});

test('the principal of a service cannot be deleted', async () => {
  const name = `principals/${ids.disk}`;
  await assert.rejects(admin().deletePrincipal({ name }), { reason: 'PRINCIPAL_OF_SERVICE' });
  assert.equal((await admin().getPrincipal({ name })).state, 'ACTIVE');
});

test('CMK-04: only a service creates a managed identity, only disk gets its tokens, and it has no secrets', async () => {
  const owner = 'subscriptions/s1/resourceGroups/g/diskEncryptionSets/d';
  const request = { principalId: randomUUID(), tenant: 'tenants/main', owner };
  await assert.rejects(admin().createManagedIdentity(request), { reason: 'WORKLOAD_REQUIRED' });
  const identity = await as(ids.des, 'des').createManagedIdentity(request);
  assert.equal(identity.type, 'MANAGED_IDENTITY');
  await assert.rejects(admin().addSecret({ principal: identity.name, secretId: 's' }), {
    reason: 'PRINCIPAL_HAS_NO_SECRETS',
  });
  const asked = { principal: identity.name, audience: 'interlock:key-vault' };
  const unmade = { ...asked, principal: `principals/${randomUUID()}` };
  await assert.rejects(as(ids.disk, 'disk').issueManagedIdentityToken(unmade), {
    code: 'NOT_FOUND',
    reason: 'PRINCIPAL_NOT_FOUND',
  });
  await assert.rejects(as(ids.des, 'des').issueManagedIdentityToken(asked), { reason: 'WORKLOAD_REQUIRED' });
  const { accessToken } = await as(ids.disk, 'disk').issueManagedIdentityToken(asked);
  assert.equal(decodeJwt(accessToken).idtyp, 'managed_identity');
  await as(ids.des, 'des').deletePrincipal({ name: identity.name });
  await assert.rejects(as(ids.disk, 'disk').issueManagedIdentityToken(asked), { reason: 'IDENTITY_DELETED' });
});

test('deleting the identity of a set requires its name as confirmation, except for its own service', async () => {
  const owner = 'subscriptions/s1/resourceGroups/g/diskEncryptionSets/confirmed';
  const newIdentity = async () => {
    const request = { principalId: randomUUID(), tenant: 'tenants/main', owner };
    return (await as(ids.des, 'des').createManagedIdentity(request)).name;
  };
  const name = await newIdentity();
  await assert.rejects(admin().deletePrincipal({ name }), {
    code: 'FAILED_PRECONDITION',
    reason: 'IDENTITY_IN_USE',
    message: /identity of \S+\/confirmed: .* impact set:confirmed.*`--confirm`/,
    metadata: { principal: name, disk_encryption_set: owner, confirm_name: name },
  });
  const another = `principals/${randomUUID()}`;
  await assert.rejects(admin().deletePrincipal({ name, confirmName: another }), { reason: 'CONFIRM_NAME_MISMATCH' });
  assert.equal((await admin().getPrincipal({ name })).state, 'ACTIVE');
  for (const confirmName of [name, '']) {
    const deleted = await admin().deletePrincipal({ name, confirmName });
    assert.equal(deleted.state, 'DELETED', 'a deleted identity needs no confirmation');
  }
  await as(ids.des, 'des').deletePrincipal({ name: await newIdentity() });
  const { principal } = await newPrincipal();
  await assert.rejects(admin().deletePrincipal({ name: principal.name, confirmName: name }), {
    reason: 'CONFIRM_NAME_MISMATCH',
  });
  await admin().deletePrincipal({ name: principal.name });
});

test('CMK-38: disk-encryption-set gets NOT_FOUND for an identity that never existed; other callers are refused', async () => {
  const name = `principals/${randomUUID()}`;
  await assert.rejects(as(ids.des, 'des').deletePrincipal({ name }), {
    code: 'NOT_FOUND',
    reason: 'PRINCIPAL_NOT_FOUND',
  });
  await assert.rejects(as(ids.disk, 'disk').deletePrincipal({ name }), { code: 'PERMISSION_DENIED' });
});

test('CMK-07, G1: a token of a managed identity is valid for key-vault only, and for the configured lifetime', async () => {
  const owner = 'subscriptions/s1/resourceGroups/g/diskEncryptionSets/d';
  const request = { principalId: randomUUID(), tenant: 'tenants/main', owner };
  const { name: principal } = await as(ids.des, 'des').createManagedIdentity(request);
  const disk = as(ids.disk, 'disk');
  for (const service of ['identity', 'disk-encryption-set', 'disk', 'compute']) {
    await assert.rejects(disk.issueManagedIdentityToken({ principal, audience: `interlock:${service}` }), {
      code: 'INVALID_ARGUMENT',
      reason: 'INVALID_AUDIENCE',
      message: /interlock:key-vault/,
    });
  }
  const earliest = Date.now();
  const { accessToken, expireTime } = await disk.issueManagedIdentityToken({
    principal,
    audience: 'interlock:key-vault',
  });
  const lifeMs = (expireTime?.getTime() ?? 0) - earliest;
  assert.ok(lifeMs >= managedIdentityMs && lifeMs <= managedIdentityMs + Date.now() - earliest, `${lifeMs} ms`);
  assert.equal(Math.round((decodeJwt(accessToken).exp ?? 0) * 1_000), expireTime?.getTime());
  await assert.rejects(
    disk.issueManagedIdentityToken({ principal: `principals/${ids.disk}`, audience: 'interlock:key-vault' }),
    {
      reason: 'NOT_A_MANAGED_IDENTITY',
    },
  );
});

test('etags, names and pages are checked', async () => {
  const { principal } = await newPrincipal('USER');
  await assert.rejects(admin().deletePrincipal({ name: principal.name, etag: '99' }), { reason: 'ETAG_MISMATCH' });
  await assert.rejects(admin().getPrincipal({ name: 'principals/x' }), { reason: 'NAME_INVALID' });
  await assert.rejects(admin().getPrincipal({ name: `principals/${randomUUID()}` }), { reason: 'PRINCIPAL_NOT_FOUND' });
  const first = await admin().listPrincipals({ pageSize: 2 });
  assert.equal(first.principals.length, 2);
  const second = await admin().listPrincipals({ pageSize: 2, pageToken: first.nextPageToken });
  assert.ok(second.principals.every(({ name }) => !first.principals.some((earlier) => earlier.name === name)));
});

test('G8: the store contains no secret and no signing key in plain text', async () => {
  const { secret } = await newPrincipal();
  const dump = JSON.stringify(
    await database.sql`select row::text from rows union all select data::text || meta::text from events`,
  );
  assert.ok(dump.includes('SigningKeyActivated') || dump.includes('sealed'));
  assert.ok(!dump.includes(secret));
  assert.ok(!dump.includes('"d":') && !dump.includes('PRIVATE KEY'));
});
