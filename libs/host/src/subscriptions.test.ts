import assert from 'node:assert/strict';
import { test } from 'node:test';
import { ListSubscriptionsResponse } from '@interlock/contracts/interlock/identity/v1/tenant.ts';
import { type Call, currentCall, runAsCall } from '@interlock/rpc';
import { openSubscriptions } from './subscriptions.ts';

const caller = { kind: 'user', id: 'u', name: 'principals/u', tenant: 'main' };
const call = { caller } as Call;
const disk = (subscription: string) => `subscriptions/${subscription}/resourceGroups/g/disks/d`;

/** Identity with these subscriptions, two on a page; it records the calls. */
const identityWith = (subscriptions: string[]) => {
  const asked: string[] = [];
  let failure: Error | undefined;
  return {
    asked,
    failWith: (error: Error | undefined) => {
      failure = error;
    },
    listSubscriptions: async ({ tenant = '', pageToken = '' }) => {
      asked.push(`${tenant}${pageToken}`);
      if (failure !== undefined) throw failure;
      const from = Number(pageToken);
      const own = tenant === 'tenants/main' ? subscriptions : [];
      return ListSubscriptionsResponse.fromPartial({
        subscriptions: own.slice(from, from + 2).map((id) => ({ name: `subscriptions/${id}` })),
        nextPageToken: own.length > from + 2 ? String(from + 2) : '',
      });
    },
  };
};

test('REST-17: any number of creations in a subscription costs one look-up', async () => {
  const identity = identityWith(['s1', 's2', 's3']);
  const { requireOwn } = openSubscriptions(identity);
  const many = await Promise.all(Array.from({ length: 100 }, () => requireOwn(disk('s3'), call)));
  assert.deepEqual([...new Set(many)], ['tenants/main']);
  await requireOwn(disk('s3'), call);
  assert.deepEqual(identity.asked, ['tenants/main', 'tenants/main2'], 'two pages of one list');
});

test('REST-17: a subscription that is missing or of another tenant is refused, and looked up again each time', async () => {
  const held = ['s1'];
  const identity = identityWith(held);
  const { requireOwn, has } = openSubscriptions(identity);
  const missing = { code: 'NOT_FOUND', reason: 'SUBSCRIPTION_NOT_FOUND' };
  await assert.rejects(requireOwn(disk('s2'), call), missing);
  await assert.rejects(requireOwn(disk('s2'), call), missing);
  assert.equal(await has('tenants/other', 'subscriptions/s1'), false);
  assert.equal(identity.asked.length, 3);
  held.push('s2');
  assert.equal(await requireOwn('subscriptions/s2/resourceGroups/g', call), 'tenants/main');
});

test('a failure of identity is thrown and not cached', async () => {
  const identity = identityWith(['s1']);
  const { requireOwn } = openSubscriptions(identity);
  identity.failWith(new Error('silence'));
  await assert.rejects(requireOwn(disk('s1'), call), /silence/);
  identity.failWith(undefined);
  assert.equal(await requireOwn(disk('s1'), call), 'tenants/main');
});

test('a caller that waits for the lookup of another call keeps its own deadline', async () => {
  const identity = identityWith(['s1']);
  const { has } = openSubscriptions({
    // Like a real client: a call made while another is handled has the deadline of that one.
    listSubscriptions: async (request) => {
      const { remainingMs = () => 1 } = currentCall() ?? {};
      await Promise.resolve();
      if (remainingMs() <= 0) throw new Error('no answer before the deadline');
      return identity.listSubscriptions({ tenant: request.tenant ?? '', pageToken: request.pageToken ?? '' });
    },
  });
  const hasty = { remainingMs: () => 0 } as Call;
  const ask = () => has('tenants/main', 'subscriptions/s1');
  assert.deepEqual(await Promise.all([runAsCall(hasty, ask), ask()]), [true, true]);
});
