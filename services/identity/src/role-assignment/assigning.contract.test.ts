import assert from 'node:assert/strict';
import { after, before, describe, test } from 'node:test';
import { category, type EventStore, memoryStore, openPostgresStore, Rejection } from '@interlock/event-store';
import { createTestDatabase, type TestDatabase } from '@interlock/event-store/test-database';
import { systemClock, systemRandom } from '@interlock/runtime';
import { openAssigning } from './assigning.ts';
import { assign, type Grant, remove, roleAssignments } from './decider.ts';
import { grantHolders } from './grant-holder.ts';

const cause = { correlationId: 'c', causes: [], caller: 'system:test' };
const newGrant = (): Grant => ({ principal: `principals/${systemRandom.uuid()}`, role: 'roles/reader', scope: '/' });

/** Tests for each kind of store. @param open one more process on the same store */
const assigningContract = (name: string, open: () => Promise<EventStore>): void => {
  describe(`roles over the ${name} store`, () => {
    const processOn = (store: EventStore) => {
      const assignments = category(store, roleAssignments);
      return { assignments, give: openAssigning({ store, assignments, holders: category(store, grantHolders) }) };
    };
    const stores: EventStore[] = [];
    const processes: ReturnType<typeof processOn>[] = [];
    before(async () => {
      stores.push(await open(), await open());
      processes.push(...stores.map(processOn));
    });
    after(() => Promise.all(stores.map((store) => store.close())));
    const [one, other] = [() => processes[0] ?? assert.fail(), () => processes[1] ?? assert.fail()];

    /** Concurrent assignments, by both processes in turn. @returns the ids that were assigned, and the refusals of the others */
    const giveAtOnce = async (grant: Grant, ids: readonly string[]) => {
      const given = await Promise.allSettled(
        ids.map((id, n) => (n % 2 === 0 ? one() : other()).give(id, grant, systemClock.now(), cause)),
      );
      const refusals = given.flatMap((outcome) => (outcome.status === 'rejected' ? [outcome.reason] : []));
      return { made: ids.filter((_, n) => given[n]?.status === 'fulfilled'), refusals };
    };
    const holdersOf = async ({ principal }: Grant): Promise<string[]> => {
      const held = await one().assignments.listAll({ index: { index: 'principal', value: principal } });
      return held.map(({ id }) => id);
    };

    test('of concurrent assignments with the same principal, role and scope, one is created', async () => {
      const grant = newGrant();
      const { made, refusals } = await giveAtOnce(grant, ids(12));
      assert.equal(made.length, 1);
      assert.deepEqual(await holdersOf(grant), made);
      for (const refusal of refusals) {
        assert.ok(refusal instanceof Rejection);
        assert.equal(refusal.reason, 'ROLE_ASSIGNMENT_ALREADY_EXISTS');
        assert.equal(refusal.metadata.name, `roleAssignments/${made}`);
      }
      await one().assignments.transact(made.join(), remove(systemClock.now()), cause);
      assert.deepEqual(await holdersOf(grant), [], 'removing that one ends the access');
    });

    test('after a role was removed, one of several concurrent assignments creates it again', async () => {
      const grant = newGrant();
      for (let round = 0; round < 3; round += 1) {
        const { made, refusals } = await giveAtOnce(grant, ids(6));
        assert.deepEqual([made.length, refusals.length], [1, 5]);
        await other().assignments.transact(made.join(), remove(systemClock.now()), cause);
      }
    });

    test('concurrent equal requests create one assignment, and each gets it', async () => {
      const grant = newGrant();
      const [id = ''] = ids(1);
      const { made, refusals } = await giveAtOnce(grant, Array<string>(6).fill(id));
      assert.deepEqual([made.length, refusals], [6, []]);
      assert.equal((await stores[0]?.read(`role_assignment-${id}`))?.length, 1);
    });

    test('assignments with another role, scope or principal do not conflict', async () => {
      const grant = newGrant();
      const requests = [
        grant,
        { ...grant, role: 'roles/owner' },
        { ...grant, scope: 'subscriptions/s' },
        { ...grant, principal: newGrant().principal },
      ];
      await Promise.all(requests.map((request) => one().give(systemRandom.uuid(), request, systemClock.now(), cause)));
      assert.equal((await holdersOf(grant)).length, 3);
    });

    test('an assignment stored before grants had holders is still found', async () => {
      const grant = newGrant();
      const [old = '', next = ''] = ids(2);
      await one().assignments.transact(old, assign(systemClock.now(), grant), cause);
      await assert.rejects(other().give(next, grant, systemClock.now(), cause), {
        reason: 'ROLE_ASSIGNMENT_ALREADY_EXISTS',
      });
      assert.equal((await one().give(old, grant, systemClock.now(), cause)).version, 1);
    });
  });
};

const ids = (count: number): string[] => Array.from({ length: count }, () => systemRandom.uuid());

const shared = memoryStore({ clock: systemClock });
assigningContract('memory', async () => shared);

describe('on Postgres', () => {
  let database: TestDatabase;
  before(async () => {
    database = await createTestDatabase();
  });
  after(() => database.drop());
  assigningContract('Postgres', () => openPostgresStore({ url: database.url, clock: systemClock, pollIntervalMs: 20 }));
});
