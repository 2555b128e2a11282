import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { assign, evolve, initial, type RoleAssignment, remove } from './decider.ts';
import type { RoleAssignmentEvent } from './events.ts';

const at = 1_000;
const grant = { principal: 'principals/p', role: 'roles/reader', scope: '/' };
const assigned: RoleAssignmentEvent = { type: 'RoleAssigned', ...grant, at };
const removed: RoleAssignmentEvent = { type: 'RoleRemoved', ...grant, at };
const fold = (events: readonly RoleAssignmentEvent[]): RoleAssignment => events.reduce(evolve, initial);

test('a role is assigned once, and its removal names the grant', () => {
  assert.deepEqual(assign(at, grant)(initial), [assigned]);
  assert.deepEqual(remove(at)(fold([assigned])), [removed]);
});

test('an assignment cannot be changed, and a removed one cannot be assigned again under its id', () => {
  assert.throws(() => assign(at, { ...grant, scope: 'subscriptions/s' })(fold([assigned])), {
    reason: 'ROLE_ASSIGNMENT_UPDATE_NOT_PERMITTED',
  });
  assert.throws(() => assign(at, grant)(fold([assigned, removed])), { reason: 'ROLE_ASSIGNMENT_UPDATE_NOT_PERMITTED' });
  assert.throws(() => remove(at)(initial), { reason: 'ROLE_ASSIGNMENT_NOT_FOUND' });
});

test('from any history: a repeated command has no effect', () => {
  fc.assert(
    fc.property(
      fc.array(fc.constantFrom(assigned, removed), { maxLength: 5 }),
      fc.constantFrom(assign(at, grant), remove(at)),
      (history, wanted) => {
        let first: readonly RoleAssignmentEvent[];
        try {
          first = wanted(fold(history));
        } catch (error) {
          assert.equal((error as Error).name, 'Rejection');
          return;
        }
        assert.deepEqual(wanted(fold([...history, ...first])), []);
      },
    ),
  );
});
