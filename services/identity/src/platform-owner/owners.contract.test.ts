import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { category, type EventStore, memoryStore, openPostgresStore, Rejection } from '@interlock/event-store';
import { createTestDatabase, type TestDatabase } from '@interlock/event-store/test-database';
import { systemClock, systemRandom } from '@interlock/runtime';
import * as principal from '../principal/decider.ts';
import { openAssigning } from '../role-assignment/assigning.ts';
import { assign, roleAssignments } from '../role-assignment/decider.ts';
import { grantHolders } from '../role-assignment/grant-holder.ts';
import { PlatformOwners } from './owners.ts';
import { ownerRemovals } from './removals.ts';

const cause = { correlationId: 'c', causes: [], caller: 'system:test' };
const now = () => systemClock.now();

const processOn = (store: EventStore) => {
  const principals = category(store, principal.principals);
  const assignments = category(store, roleAssignments);
  const removals = category(store, ownerRemovals);
  const owners = new PlatformOwners({ store, principals, assignments, removals });
  const give = openAssigning({ store, assignments, holders: category(store, grantHolders) });
  return { principals, assignments, owners, give };
};
type Process = ReturnType<typeof processOn>;

const newOwner = async ({ principals, assignments }: Process, secretExpiresAt?: number): Promise<string> => {
  const id = systemRandom.uuid();
  const request = { tenant: 'tenants/t', principalType: 'user', displayName: 'a user' } as const;
  await principals.transact(id, principal.create(now(), request), cause);
  await principals.transact(id, principal.addSecret(0, 's', id, secretExpiresAt), cause);
  const grant = { principal: `principals/${id}`, role: 'roles/owner', scope: '/' };
  await assignments.transact(id, assign(now(), grant), cause);
  return id;
};
const remove = ({ owners }: Process, id: string): Promise<unknown> =>
  owners.changePrincipal(id, principal.remove(now()), now(), cause, {});
const removeSecret = ({ owners }: Process, id: string): Promise<unknown> =>
  owners.changePrincipal(id, principal.removeSecret(now(), 's'), now(), cause, {});
const removeRole = ({ owners }: Process, id: string): Promise<unknown> => owners.removeAssignment(id, now(), cause, {});
const take = [remove, removeSecret, removeRole];

/** Creates an owner and removes the role of all others. */
const soleOwner = async (process: Process): Promise<string> => {
  const sole = await newOwner(process);
  for (const { id, state } of await process.assignments.listAll({ index: { index: 'scope', value: '/' } })) {
    const isOther = state.status === 'assigned' && state.principal !== `principals/${sole}`;
    if (isOther) await removeRole(process, id);
  }
  return sole;
};

/** A process whose first commit waits for `meanwhile`. */
const heldUp = (store: EventStore, meanwhile: () => Promise<unknown>): Process => {
  let isHeldUp = false;
  const commit: EventStore['commit'] = async (...what) => {
    if (!isHeldUp) {
      isHeldUp = true;
      await meanwhile();
    }
    return store.commit(...what);
  };
  return processOn({ ...store, commit });
};

/** Tests for each kind of store. @param open one more process on the same store */
const ownersContract = (name: string, open: () => Promise<EventStore>): void => {
  describe(`owners of the platform over the ${name} store`, () => {
    const stores: EventStore[] = [];
    before(async () => {
      stores.push(await open(), await open());
    });
    after(() => Promise.all(stores.map((store) => store.close())));
    const processes = () => stores.map(processOn);

    test('of owners that are removed at the same time, in different ways, the last one stays', async () => {
      const [one, other] = processes();
      assert.ok(one && other);
      await newOwner(one, 1); // Its secret has expired: it does not count.
      let standing: string = await newOwner(one);
      for (let round = 0; round < 6; round += 1) {
        const ids: readonly string[] = [standing, await newOwner(one), await newOwner(other)];
        const taken: readonly PromiseSettledResult<unknown>[] = await Promise.allSettled(
          ids.map((id, n) => take[(n + round) % take.length]?.(n % 2 === 0 ? one : other, id)),
        );
        const refusals = taken.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []));
        assert.equal(refusals.length, 1);
        assert.ok(refusals[0] instanceof Rejection && refusals[0].reason === 'LAST_PLATFORM_OWNER', `${refusals[0]}`);
        standing = ids.find((_, n) => taken[n]?.status === 'rejected') ?? assert.fail();
        for (const way of take) await assert.rejects(way(other, standing), { reason: 'LAST_PLATFORM_OWNER' });
        for (const id of ids.filter((gone) => gone !== standing)) await remove(one, id);
      }
    });

    test('a principal that becomes the last owner while its secret is being removed keeps the secret', async () => {
      const [one] = processes();
      assert.ok(one);
      const [first, next] = [await soleOwner(one), systemRandom.uuid()];
      const request = { tenant: 'tenants/t', principalType: 'user', displayName: 'next' } as const;
      await one.principals.transact(next, principal.create(now(), request), cause);
      await one.principals.transact(next, principal.addSecret(0, 's', next, undefined), cause);
      const slow = heldUp(stores[0] ?? assert.fail(), async () => {
        const grant = { principal: `principals/${next}`, role: 'roles/owner', scope: '/' };
        await one.give(systemRandom.uuid(), grant, now(), cause);
        await remove(one, first);
      });
      await assert.rejects(removeSecret(slow, next), { reason: 'LAST_PLATFORM_OWNER' });
    });

    test('an owner that becomes the last usable one while its role is being removed keeps the role', async () => {
      const [one] = processes();
      assert.ok(one);
      const [first, next] = [await soleOwner(one), await newOwner(one, 1)];
      const slow = heldUp(stores[0] ?? assert.fail(), async () => {
        await one.principals.transact(next, principal.addSecret(now(), 's2', `${next}2`, undefined), cause);
        await remove(one, first);
      });
      await assert.rejects(removeRole(slow, next), { reason: 'LAST_PLATFORM_OWNER' });
    });

    test('an owner or its secret cannot be removed if the secrets of all others expire within a day', async () => {
      const [one, other] = processes();
      assert.ok(one && other);
      const first = await soleOwner(one);
      const hour = 3_600_000;
      const [brief] = [await newOwner(one, now() + 23 * hour), await newOwner(one, 1)];
      const ends = { reason: 'LAST_PLATFORM_OWNER', message: /from \d{4}-\S+ on, when the last secret expires/ };
      for (const way of take) await assert.rejects(way(other, first), ends);
      const addSecret = (id: string, secretId: string, end: number): Promise<unknown> =>
        one.principals.transact(id, principal.addSecret(now(), secretId, `${id} ${secretId}`, end), cause);
      await addSecret(first, 'soon', now() + 22 * hour);
      await assert.rejects(removeSecret(one, first), ends, 'its own other secret expires within a day too');
      await addSecret(brief, 'late', now() + 25 * hour);
      await removeSecret(other, first);
      assert.ok((await one.owners.actUntil()) > now() + 24 * hour);
      await remove(other, first);
      for (const way of [remove, removeRole]) {
        await assert.rejects(way(one, brief), { reason: 'LAST_PLATFORM_OWNER' });
      }
    });
  });
};

const memory = memoryStore({ clock: systemClock });
ownersContract('memory', async () => memory);

describe('with Postgres', () => {
  let database: TestDatabase;
  before(async () => {
    database = await createTestDatabase();
  });
  after(() => database.drop());
  ownersContract('Postgres', () => openPostgresStore({ url: database.url, clock: systemClock }));
});
