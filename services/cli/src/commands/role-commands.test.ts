import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { UsageError } from '../problems.ts';
import { ADMINISTRATOR, testProgram } from '../session/test-session.ts';

const id = (n: number) => `00000000-0000-4000-8000-00000000000${n}`;
const principal = `principals/${id(7)}`;
const assignment = (n: number, role: string, scope: string) => ({
  name: `roleAssignments/${id(n)}`,
  principal,
  role: `roles/${role}`,
  scope,
});
const roleAssignments = [
  assignment(1, 'operator', 'subscriptions/local/resourceGroups/g'),
  assignment(2, 'reader', '/'),
  assignment(3, 'reader', 'subscriptions/local'),
];
const ran = async (...args: readonly string[]) => {
  const { run, sent, lines } = testProgram({ ListRoleAssignments: { roleAssignments, nextPageToken: '' } });
  await run('role', 'unassign', ...args);
  return { sent, shown: lines.join('\n') };
};

test('role unassign takes the principal and role that role assign took', async () => {
  const { sent, shown } = await ran(id(7), 'operator');
  assert.deepEqual(
    sent.map(({ method, request }) => [method, request.principal ?? request.name]),
    [
      ['ListRoleAssignments', principal],
      ['GetPrincipal', principal],
      ['DeleteRoleAssignment', `roleAssignments/${id(1)}`],
    ],
  );
  assert.match(shown, /^operator at subscriptions\/local\/resourceGroups\/g is removed from /);
  assert.equal((await ran('me', 'operator')).sent[0]?.request.principal, ADMINISTRATOR);
});

test('role unassign needs --scope if the principal has the role at several scopes', async () => {
  await assert.rejects(
    ran(id(7), 'reader'),
    (error) => error instanceof UsageError && /at \/, subscriptions\/local: name one with --scope/.test(error.message),
  );
  assert.equal((await ran(id(7), 'reader', '--scope', '/')).sent.at(-1)?.request.name, `roleAssignments/${id(2)}`);
  await assert.rejects(
    ran(id(7), 'owner'),
    (error) => error instanceof Rejection && error.reason === 'ROLE_ASSIGNMENT_NOT_FOUND',
  );
});

test('role unassign takes the id of one assignment', async () => {
  const { sent } = await ran(id(2));
  assert.deepEqual(sent.at(-1)?.method, 'DeleteRoleAssignment');
  assert.deepEqual(sent.at(-1)?.request, { name: `roleAssignments/${id(2)}` });
  for (const wrong of [[], [id(2), '--scope', '/'], ['a', 'b', 'c']])
    await assert.rejects(ran(...wrong), /name one assignment, or/);
});
