import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { IdentityServiceDefinition } from '@interlock/contracts/interlock/identity/v1/identity.ts';
import { memoryStore } from '@interlock/event-store';
import { type InProcessCloud, inProcessCloud } from '@interlock/host';
import { memoryBus } from '@interlock/messaging';
import { simulatedTokens } from '@interlock/rpc';
import { systemClock as clock, logger, systemRandom as random } from '@interlock/runtime';
import { masterKey } from '@interlock/sealing';
import { trace } from '@opentelemetry/api';
import { assemble } from '../assemble.ts';
import { hashSecret } from '../token/tokens.ts';

const ids = { administrator: random.uuid(), identity: random.uuid() };
const issuer = 'https://identity.test';

let cloud: InProcessCloud;
before(async () => {
  const store = memoryStore({ clock });
  const tokenFormat = simulatedTokens(random);
  const administrator = { principalId: ids.administrator, displayName: 'A', secretHash: hashSecret('admin') };
  const owner = { id: random.uuid(), principalId: ids.administrator, role: 'roles/owner', scope: '/' };
  const settings = {
    bootstrap: {
      tenant: { id: 'main', displayName: 'Main' },
      subscriptions: [],
      administrator,
      workloads: [{ service: 'identity', principalId: ids.identity, secretHash: hashSecret('identity') }],
      roleAssignments: [owner],
    },
    masterKey: masterKey(random.bytes(32)),
    issuer,
    lifetimes: { userMs: 600_000, managedIdentityMs: 1_000 },
    tokenFormat,
  };
  cloud = await inProcessCloud({
    services: { identity: (seams) => assemble({ ...seams, settings }) },
    storeOf: () => store,
    bus: memoryBus({ clock, random }),
    workloadOf: () => ({ id: ids.identity, secret: 'identity' }),
    clock,
    random,
    log: logger({ service: 'test', clock, write: () => undefined }),
    tracer: trace.getTracer('test'),
    issuer,
    tokenFormat,
    authzTtlMs: 600_000,
  });
});
after(() => cloud.close());

const as = (id: string, secret: string) => cloud.as({ id, secret }).client('identity', IdentityServiceDefinition);

test('KV-73: a principal that lost the right to assign roles can assign none, not even to itself', async () => {
  const admin = as(ids.administrator, 'admin');
  const principalId = random.uuid();
  const request = { principalId, tenant: 'tenants/main', type: 'USER', displayName: 'second' } as const;
  const { name: principal } = await admin.createPrincipal(request);
  const { secretText } = await admin.addSecret({ principal, secretId: 'one' });
  const own = { roleAssignmentId: random.uuid(), principal, role: 'roles/owner', scope: '/' };
  const { name } = await admin.createRoleAssignment(own);
  const second = as(principalId, secretText);
  const other = { ...own, roleAssignmentId: random.uuid(), role: 'roles/reader' };
  await second.createRoleAssignment(other);
  await admin.deleteRoleAssignment({ name });
  const again = { ...own, roleAssignmentId: random.uuid() };
  await assert.rejects(second.createRoleAssignment(again), { code: 'PERMISSION_DENIED', reason: 'ACCESS_DENIED' });
});
