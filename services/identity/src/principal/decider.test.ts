import assert from 'node:assert/strict';
import { test } from 'node:test';
import fc from 'fast-check';
import { addSecret, create, evolve, hasSecret, initial, type Principal, remove, removeSecret } from './decider.ts';
import type { PrincipalEvent } from './events.ts';

const at = 1_000;
const request = { tenant: 'tenants/t', principalType: 'application', displayName: 'app' } as const;
const fold = (events: readonly PrincipalEvent[]): Principal => events.reduce(evolve, initial);
const given = (...events: PrincipalEvent[]) => ({
  when: (command: (state: Principal) => readonly PrincipalEvent[]) => command(fold(events)),
});
const created: PrincipalEvent = { type: 'PrincipalCreated', ...request, at };
const managed: PrincipalEvent = {
  ...created,
  principalType: 'managed_identity',
  owner: 'subscriptions/s/resourceGroups/g/diskEncryptionSets/d',
};
const secret: PrincipalEvent = { type: 'SecretAdded', secretId: 's', hash: 'h', at };
const deleted: PrincipalEvent = { type: 'PrincipalDeleted', tenant: 'tenants/t', principalType: 'application', at };

test('the id of a secret may be the name of a property that every object has', () => {
  const named = { ...secret, secretId: 'constructor' };
  assert.deepEqual(given(created).when(addSecret(at, 'constructor', 'h', undefined)), [named]);
  assert.deepEqual(given(created, named).when(addSecret(at, 'constructor', 'h', undefined)), []);
  assert.deepEqual(given(created).when(removeSecret(at, 'constructor')), []);
});

test('a principal is created once; a repeat has no effect, another request is refused', () => {
  assert.deepEqual(given().when(create(at, request)), [created]);
  assert.deepEqual(given(created).when(create(at + 1, request)), []);
  assert.throws(() => given(created).when(create(at, { ...request, displayName: 'other', tenant: 'tenants/other' })), {
    reason: 'PRINCIPAL_ALREADY_EXISTS',
    message: /exists with another tenant, display_name/,
  });
  assert.throws(() => given().when(create(at, { ...request, displayName: '' })), { reason: 'DISPLAY_NAME_INVALID' });
});

test('CMK-39: the id of a deleted principal is never given to another', () => {
  assert.throws(() => given(created, deleted).when(create(at, request)), {
    reason: 'PRINCIPAL_ALREADY_EXISTS',
    message: /belongs to a deleted principal/,
    metadata: { field: 'principal_id', state: 'DELETED' },
  });
});

test('the principal of a service cannot be deleted, because nothing would create another one', () => {
  assert.throws(() => given({ ...created, workload: 'disk' }).when(remove(at)), {
    code: 'FAILED_PRECONDITION',
    reason: 'PRINCIPAL_OF_SERVICE',
    message: /principal of the service disk/,
  });
  assert.deepEqual(given(created).when(remove(at)), [deleted]);
});

test('a secret of a service can be removed only if another one lasts for more than a day', () => {
  const service: PrincipalEvent = { ...created, workload: 'disk' };
  const ended: PrincipalEvent = { ...secret, secretId: 'ended', hash: 'ended', expiresAt: at };
  const last = { code: 'FAILED_PRECONDITION', reason: 'PRINCIPAL_OF_SERVICE', message: /bootstrap file/ };
  assert.throws(() => given(service, secret, ended).when(removeSecret(at, 's')), last);
  const removed = (secretId: string) => [{ type: 'SecretRemoved', secretId, at }];
  assert.deepEqual(given(service, secret, ended).when(removeSecret(at, 'ended')), removed('ended'));
  const next: PrincipalEvent = { ...secret, secretId: 'next', hash: 'next' };
  assert.deepEqual(given(service, secret, next).when(removeSecret(at, 's')), removed('s'));
  assert.deepEqual(given(service, secret).when(removeSecret(at, 'none')), []);
  const hour = 3_600_000;
  const soon: PrincipalEvent = { ...next, expiresAt: at + hour };
  assert.throws(
    () => given(service, secret, soon).when(removeSecret(at, 's')),
    last,
    'the other one expires in an hour',
  );
  assert.deepEqual(given(service, secret, soon).when(removeSecret(at, 'next')), removed('next'));
  const late: PrincipalEvent = { ...next, expiresAt: at + 25 * hour };
  assert.deepEqual(given(service, secret, late).when(removeSecret(at, 's')), removed('s'));
});

test('secrets are added by hash, and invalid, changed or too many secrets are refused', () => {
  assert.deepEqual(given(created).when(addSecret(at, 's', 'h', at + 5)), [
    { type: 'SecretAdded', secretId: 's', hash: 'h', expiresAt: at + 5, at },
  ]);
  assert.throws(() => given(created).when(addSecret(at, 's', 'h', at)), { reason: 'EXPIRE_TIME_PAST' });
  assert.throws(() => given(created, secret).when(addSecret(at, 's', 'other', undefined)), {
    reason: 'SECRET_ALREADY_EXISTS',
  });
  assert.throws(() => given(managed).when(addSecret(at, 's', 'h', undefined)), { reason: 'PRINCIPAL_HAS_NO_SECRETS' });
  assert.throws(() => given().when(addSecret(at, 's', 'h', undefined)), { reason: 'PRINCIPAL_NOT_FOUND' });
  const full = Array.from(
    { length: 10 },
    (_, n): PrincipalEvent => ({ type: 'SecretAdded', secretId: `s${n}`, hash: `h${n}`, at }),
  );
  assert.throws(() => given(created, ...full).when(addSecret(at, 'one more', 'h', undefined)), {
    reason: 'TOO_MANY_SECRETS',
  });
});

test('a secret is valid until it expires, is removed, or its principal is deleted', () => {
  const expiring: PrincipalEvent = { type: 'SecretAdded', secretId: 's', hash: 'h', expiresAt: at + 5, at };
  assert.equal(hasSecret(fold([created, expiring]), 'h', at + 4), true);
  assert.equal(hasSecret(fold([created, expiring]), 'h', at + 5), false);
  assert.equal(hasSecret(fold([created, expiring]), 'x', at), false);
  assert.equal(
    hasSecret(fold([created, secret, ...given(created, secret).when(removeSecret(at, 's'))]), 'h', at),
    false,
  );
  assert.equal(hasSecret(fold([created, secret, deleted]), 'h', at), false);
});

const event = fc.constantFrom<PrincipalEvent>(
  created,
  managed,
  secret,
  { type: 'SecretRemoved', secretId: 's', at },
  deleted,
);
const command = fc.constantFrom(
  create(at, request),
  addSecret(at, 's', 'h', undefined),
  addSecret(at, 's2', 'h2', at + 9),
  removeSecret(at, 's'),
  remove(at),
);

test('from any history: a repeated command has no effect', () => {
  fc.assert(
    fc.property(fc.array(event, { maxLength: 8 }), command, (history, wanted) => {
      let first: readonly PrincipalEvent[];
      try {
        first = wanted(fold(history));
      } catch (error) {
        assert.equal((error as Error).name, 'Rejection');
        return;
      }
      assert.deepEqual(wanted(fold([...history, ...first])), []);
    }),
  );
});
