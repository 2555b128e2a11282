import assert from 'node:assert/strict';
import { test } from 'node:test';
import { KeyAccessReason } from '@interlock/contracts/interlock/access/v1/access.ts';
import { Rejection } from '@interlock/event-store';
import fc from 'fast-check';
import { messageOf } from './messages.ts';
import { concerns, type Grant, type Loss } from './order.ts';
import { accessReasons, isAboutIdentity, isOutage, lossReasons, precedingReason, statusOf } from './reasons.ts';
import { lossReasonIn, refusalFacts, refusalMetadata } from './refusals.ts';

const reason = fc.constantFrom(...lossReasons);
const epoch = fc.nat({ max: 6 });
const principal = fc.option(fc.constantFrom('principals/a', 'principals/b'), { nil: undefined });
const grant: fc.Arbitrary<Grant> = fc.record({ accessEpoch: epoch, principal });
const loss: fc.Arbitrary<Loss> = fc.record({ accessEpoch: epoch, principal });

test('G10: accessReasons equals the enumeration of the contracts, in the same order', () => {
  const published = Object.values(KeyAccessReason).filter(
    (name) => name !== 'KEY_ACCESS_REASON_UNSPECIFIED' && name !== 'UNRECOGNIZED',
  );
  assert.deepEqual([...accessReasons], published);
});

test('G10: which of several reasons is shown does not depend on the order in which they arrive', () => {
  fc.assert(
    fc.property(reason, reason, reason, (a, b, c) => {
      assert.equal(precedingReason(a, b), precedingReason(b, a));
      assert.equal(precedingReason(precedingReason(a, b), c), precedingReason(a, precedingReason(b, c)));
      assert.equal(precedingReason(a, a), a);
      assert.ok([a, b].includes(precedingReason(a, b)));
      assert.equal(precedingReason(a, 'KEY_PURGED'), 'KEY_PURGED');
    }),
  );
});

test('G10: every reason has a text that names the key version, and a status', () => {
  for (const one of accessReasons) {
    assert.match(messageOf({ reason: one, keyVersion: 'vaults/v/keys/k/versions/1', set: 'a set' }), /vaults\/v\/keys/);
    assert.equal(statusOf(one) === 'UNAVAILABLE', isOutage(one));
  }
});

test('G10: ACCESS_DENIED and IDENTITY_DELETED are about the identity; every other reason is about the key', () => {
  assert.deepEqual(accessReasons.filter(isAboutIdentity), ['ACCESS_DENIED', 'IDENTITY_DELETED']);
});

test('G3: the loss of a key concerns exactly the grants with a lower access epoch, of any identity', () => {
  fc.assert(
    fc.property(loss, grant, (one, given) => {
      fc.pre(one.principal === undefined);
      assert.equal(concerns(one, given), given.accessEpoch < one.accessEpoch);
    }),
  );
});

test('G3: the deletion of an identity concerns every grant to it and none to another identity', () => {
  fc.assert(
    fc.property(loss, grant, (one, given) => {
      fc.pre(one.principal !== undefined && given.principal !== undefined);
      assert.equal(concerns(one, given), one.principal === given.principal);
    }),
  );
});

test('G2: a loss that concerns a grant concerns every earlier grant to the same identity', () => {
  fc.assert(
    fc.property(loss, grant, epoch, (one, given, earlier) => {
      fc.pre(concerns(one, given));
      assert.ok(concerns(one, { ...given, accessEpoch: Math.min(earlier, given.accessEpoch) }));
    }),
  );
});

test('G1: an outage, throttling, a refused token or another error is no loss of access', () => {
  for (const [error, expected] of [
    [new Rejection('FAILED_PRECONDITION', 'KEY_DISABLED', ''), 'KEY_DISABLED'],
    [new Rejection('PERMISSION_DENIED', 'ACCESS_DENIED', ''), 'ACCESS_DENIED'],
    [new Rejection('NOT_FOUND', 'KEY_NOT_FOUND', ''), 'KEY_VERSION_NOT_FOUND'],
    [new Rejection('NOT_FOUND', 'VAULT_NOT_FOUND', ''), 'VAULT_DELETED'],
    [new Rejection('FAILED_PRECONDITION', 'KEY_OPERATION_NOT_ALLOWED', ''), 'ACCESS_DENIED'],
    [new Rejection('UNAVAILABLE', 'KEY_DISABLED', ''), undefined],
    [new Rejection('RESOURCE_EXHAUSTED', 'THROTTLED', ''), undefined],
    [new Rejection('UNAUTHENTICATED', 'IDENTITY_DELETED', ''), undefined],
    [new Rejection('FAILED_PRECONDITION', 'ANOTHER_REASON', ''), undefined],
    [Object.assign(new Error('a failure of the transport'), { code: 'FAILED_PRECONDITION', reason: 'KEY_DISABLED' })],
    [new TypeError('KEY_DISABLED'), undefined],
  ] as const)
    assert.equal(lossReasonIn(error), expected, `${error.message} ${expected}`);
});

test('G10: the facts of a loss are read from a refusal as they were written', () => {
  const fact = <Value>(values: fc.Arbitrary<Value>) => fc.option(values, { nil: undefined });
  const facts = fc.record({
    accessEpoch: fact(fc.nat()),
    since: fact(fc.nat({ max: 4_000_000_000_000 })),
    traceId: fact(fc.constant('0123456789abcdef0123456789abcdef')),
    traceparent: fact(fc.constant('00-0123456789abcdef0123456789abcdef-0123456789abcdef-01')),
    event: fact(fc.constant('key-vaults/kv1/keys/k1@7')),
    correlationId: fact(fc.uuid()),
  });
  fc.assert(
    fc.property(facts, (known) => {
      const refusal = new Rejection('FAILED_PRECONDITION', 'KEY_DISABLED', '', refusalMetadata(known));
      assert.deepEqual(refusalFacts(refusal), { ...known });
    }),
  );
});
