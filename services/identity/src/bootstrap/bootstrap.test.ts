import assert from 'node:assert/strict';
import { test } from 'node:test';
import { category, memoryStore } from '@interlock/event-store';
import { systemClock } from '@interlock/runtime';
import * as principal from '../principal/decider.ts';
import { openAssigning } from '../role-assignment/assigning.ts';
import { remove, roleAssignments } from '../role-assignment/decider.ts';
import { grantHolders } from '../role-assignment/grant-holder.ts';
import { subscriptions, tenants } from '../tenancy/decider.ts';
import { applyBootstrap, type Bootstrap } from './bootstrap.ts';

const cause = { correlationId: 'c', causes: [], caller: 'system:test' };
const bootstrap: Bootstrap = {
  tenant: { id: 'main', displayName: 'Main' },
  subscriptions: [{ id: 's1', displayName: 'One' }],
  administrator: { principalId: 'admin', displayName: 'Administrator', secretHash: 'hash-of-admin' },
  workloads: [{ service: 'disk', principalId: 'disk', secretHash: 'hash-of-disk' }],
  roleAssignments: [{ id: 'first', principalId: 'admin', role: 'roles/owner', scope: '/' }],
};
const grant = { principal: 'principals/admin', role: 'roles/owner', scope: '/' };

const openWorld = () => {
  const store = memoryStore({ clock: systemClock });
  const assignments = category(store, roleAssignments);
  const parts = {
    store,
    clock: systemClock,
    tenants: category(store, tenants),
    subscriptions: category(store, subscriptions),
    principals: category(store, principal.principals),
    assignments,
    assigning: openAssigning({ store, assignments, holders: category(store, grantHolders) }),
  };
  return { ...parts, start: (of: Bootstrap = bootstrap) => applyBootstrap(of, parts) };
};

test('a start creates what the bootstrap file names; concurrent and later starts create nothing more', async () => {
  const { store, start, principals, assignments } = openWorld();
  await Promise.all([start(), start()]);
  const head = await store.head();
  await start();
  assert.equal(await store.head(), head);
  assert.equal((await principals.load('admin')).state.status, 'active');
  assert.equal((await assignments.load('first')).state.status, 'assigned');
});

test('a removed principal or role assignment stays removed and does not prevent a start', async () => {
  const { store, start, principals, assignments } = openWorld();
  await start();
  await assignments.transact('first', remove(1), cause);
  await principals.transact('admin', principal.remove(1), cause);
  const head = await store.head();
  await start();
  assert.equal(await store.head(), head);
  assert.equal((await principals.load('admin')).state.status, 'deleted');
  assert.equal((await assignments.load('first')).state.status, 'removed');
});

test('a removed bootstrap secret stays removed, and a new one in its place is added', async () => {
  const { store, start, principals } = openWorld();
  await start();
  const secretsOf = async (id: string) => {
    const { state } = await principals.load(id);
    return state.status === 'active' ? Object.values(state.secrets).map(({ hash }) => hash) : assert.fail(state.status);
  };
  assert.deepEqual(await secretsOf('admin'), ['hash-of-admin']);
  await principals.transact('admin', principal.removeSecret(1, 'bootstrap-hash-of-'), cause);
  const head = await store.head();
  await start();
  assert.equal(await store.head(), head);
  assert.deepEqual(await secretsOf('admin'), []);
  assert.deepEqual(await secretsOf('disk'), ['hash-of-disk'], 'the other principals keep their secrets');
  await start({ ...bootstrap, administrator: { ...bootstrap.administrator, secretHash: 'new-hash' } });
  assert.deepEqual(await secretsOf('admin'), ['new-hash']);
});

test('a secret that is removed while another replica starts stays removed', async () => {
  const { start, ...parts } = openWorld();
  const { principals } = parts;
  await start();
  let isTaken = false;
  const read: typeof parts.store.read = async (...stream) => {
    const history = await parts.store.read(...stream);
    if (isTaken) return history;
    isTaken = true;
    await principals.transact('admin', principal.removeSecret(1, 'bootstrap-hash-of-'), cause);
    return history;
  };
  await applyBootstrap(bootstrap, { ...parts, store: { ...parts.store, read } });
  const { state } = await principals.load('admin');
  assert.deepEqual(state.status === 'active' && Object.keys(state.secrets), []);
});

test('a new bootstrap secret is added to a full list, and only older bootstrap secrets make room', async () => {
  const { store, start, principals } = openWorld();
  const withSecret = (secretHash: string) =>
    start({ ...bootstrap, workloads: [{ service: 'disk', principalId: 'disk', secretHash }] });
  const secretsOf = async () => {
    const { state } = await principals.load('disk');
    return state.status === 'active' ? Object.values(state.secrets).map(({ hash }) => hash) : assert.fail(state.status);
  };
  await withSecret('0-secret');
  await principals.transact('disk', principal.addSecret(1, 'by-hand', 'by-hand', undefined), cause);
  for (let n = 1; n <= 12; n += 1) await withSecret(`${n}-secret`);
  assert.deepEqual(await secretsOf(), ['by-hand', ...Array.from({ length: 9 }, (_, n) => `${n + 4}-secret`)]);
  const head = await store.head();
  for (const known of ['12-secret', '0-secret']) await withSecret(known);
  assert.equal(await store.head(), head, 'a secret that made room is not added again');
});

test('a new bootstrap secret is always added: an expired secret makes room, and a secret in use stays', async () => {
  const { start, principals } = openWorld();
  const withSecret = (secretHash: string) =>
    start({ ...bootstrap, administrator: { ...bootstrap.administrator, secretHash } });
  const secretsOf = async () => {
    const { state } = await principals.load('admin');
    return state.status === 'active' ? Object.keys(state.secrets) : assert.fail(state.status);
  };
  const add = (id: string, expiresAt?: number) =>
    principals.transact('admin', principal.addSecret(1, id, `hash of ${id}`, expiresAt), cause);
  await start();
  for (let n = 1; n <= 9; n += 1) await add(`by-hand-${n}`, n === 5 ? 2 : undefined);
  await withSecret('second-hash');
  const left = (await secretsOf()).toSorted();
  assert.equal(left.length, 10);
  assert.ok(!left.includes('by-hand-5'), 'the expired one has made room');
  assert.ok(left.includes('bootstrap-hash-of-'), 'the one in use has not');
  for (const id of left.filter((one) => one.startsWith('bootstrap-'))) {
    await principals.transact('admin', principal.removeSecret(1, id), cause);
  }
  for (const n of [10, 11]) await add(`by-hand-${n}`);
  await withSecret('third-hash');
  assert.equal((await secretsOf()).length, 11, 'none was removed');
  await assert.rejects(add('by-hand-12'), { reason: 'TOO_MANY_SECRETS' });
});

test('a role that is assigned under another id is not assigned again, so that one removal is enough', async () => {
  const { start, assignments, assigning } = openWorld();
  await start({ ...bootstrap, roleAssignments: [] });
  await assigning('by-hand', grant, 1, cause);
  await start();
  const held = await assignments.listAll({ index: { index: 'principal', value: grant.principal } });
  assert.deepEqual(
    held.map(({ id }) => id),
    ['by-hand'],
  );
});
