import assert from 'node:assert/strict';
import { test } from 'node:test';
import { cachingAuthorizer, covers, type Decision } from './authorizer.ts';
import { manualClock } from './test-clock.ts';
import { principalNamed } from './test-echo.ts';

const TTL_MS = 1_000;
const ann = principalNamed('ann');

function authorizer(answer: () => Promise<Decision> | Decision) {
  const clock = manualClock();
  const asked: string[] = [];
  const cache = cachingAuthorizer({
    clock,
    authzTtlMs: TTL_MS,
    entriesMax: 3,
    check: async (principal, action, scope) => {
      asked.push(`${principal.id} ${action} ${scope}`);
      return answer();
    },
  });
  return { ...cache, clock, asked };
}

const yes = { allowed: true, principalActive: true };
const no = { allowed: false, principalActive: true };

for (const decision of [yes, no]) {
  test(`CMK-28: the decision allowed=${decision.allowed} is cached for the time to live and no longer`, async () => {
    const { authorize, clock, asked } = authorizer(() => decision);
    await authorize(ann, 'read', '/');
    clock.advance(TTL_MS - 1);
    assert.deepEqual(await authorize(ann, 'read', '/'), decision);
    assert.equal(asked.length, 1);
    clock.advance(1);
    await authorize(ann, 'read', '/');
    assert.equal(asked.length, 2);
  });
}

test('G1: the time to live keeps running while the machine is suspended', async () => {
  const { authorize, clock, asked } = authorizer(() => ({ ...yes, grantedAt: '/' }));
  await authorize(ann, 'read', 'subscriptions/s');
  clock.suspend(TTL_MS - 1);
  await authorize(ann, 'read', 'subscriptions/s');
  await authorize(ann, 'read', 'subscriptions/s2');
  assert.equal(asked.length, 1);
  clock.suspend(1);
  await authorize(ann, 'read', 'subscriptions/s');
  assert.equal(asked.length, 2);
  clock.suspend(TTL_MS);
  await authorize(ann, 'read', 'subscriptions/s2');
  assert.equal(asked.length, 3);
});

test('a cached grant is known without a wait until it expires or is dropped; a refusal never is', async () => {
  let decision: Decision = { ...yes, grantedAt: '/' };
  const { authorize, cachedGrant, invalidate, clock, asked } = authorizer(() => decision);
  assert.equal(cachedGrant(ann, 'read', 'subscriptions/s'), undefined);
  await authorize(ann, 'read', 'subscriptions/s');
  assert.equal(cachedGrant(ann, 'read', 'subscriptions/s'), decision);
  assert.equal(cachedGrant(ann, 'write', 'subscriptions/s'), undefined, 'another action');
  clock.advance(TTL_MS);
  assert.equal(cachedGrant(ann, 'read', 'subscriptions/s'), undefined, 'expired');
  await authorize(ann, 'read', 'subscriptions/s');
  invalidate();
  assert.equal(cachedGrant(ann, 'read', 'subscriptions/s'), undefined, 'dropped');
  decision = no;
  await authorize(ann, 'read', 'subscriptions/s');
  assert.equal(cachedGrant(ann, 'read', 'subscriptions/s'), undefined, 'refused');
  assert.equal(asked.length, 3, 'it asks nothing itself');
});

test('the time to live starts when the check is sent, not when it returns', async () => {
  const answer = Promise.withResolvers<Decision>();
  const { authorize, clock, asked } = authorizer(() => answer.promise);
  const first = authorize(ann, 'read', '/');
  clock.advance(TTL_MS);
  answer.resolve(yes);
  await first;
  await authorize(ann, 'read', '/');
  assert.equal(asked.length, 2);
});

test('equal concurrent checks are merged; another principal, action or scope is checked separately', async () => {
  const { authorize, asked } = authorizer(() => yes);
  await Promise.all([
    authorize(ann, 'read', '/'),
    authorize(ann, 'read', '/'),
    authorize(principalNamed('bob'), 'read', '/'),
    authorize(ann, 'write', '/'),
    authorize(ann, 'read', 'subscriptions/s'),
  ]);
  assert.deepEqual(asked, ['ann read /', 'bob read /', 'ann write /', 'ann read subscriptions/s']);
});

test('after invalidate every decision is requested again, and a pending decision is not cached', async () => {
  const answer = Promise.withResolvers<Decision>();
  const { authorize, invalidate, asked } = authorizer(() => answer.promise);
  const first = authorize(ann, 'read', '/');
  invalidate();
  const second = authorize(ann, 'read', '/');
  answer.resolve(yes);
  await Promise.all([first, second]);
  assert.equal(asked.length, 2);
  await authorize(ann, 'read', '/');
  assert.equal(asked.length, 2);
});

test('a failed check is thrown and not cached', async () => {
  let isDown = true;
  const { authorize } = authorizer(() => {
    if (isDown) throw new Error('identity is down');
    return yes;
  });
  await assert.rejects(authorize(ann, 'read', '/'), /identity is down/);
  isDown = false;
  assert.deepEqual(await authorize(ann, 'read', '/'), yes);
});

test('the cache holds at most entriesMax decisions, and drops the oldest', async () => {
  const { authorize, asked } = authorizer(() => yes);
  for (const scope of ['1', '2', '3', '4', '1']) await authorize(ann, 'read', scope);
  assert.deepEqual(
    asked.map((question) => question.at(-1)),
    ['1', '2', '3', '4', '1'],
  );
  await authorize(ann, 'read', '4');
  assert.equal(asked.length, 5);
});

test('G1: a decision older than the position the caller has consumed is requested again, a newer one is not', async () => {
  const positions = [4, 7];
  const { authorize, asked } = authorizer(() => ({ ...yes, position: positions.shift() ?? 9 }));
  assert.equal((await authorize(ann, 'read', '/')).position, 4);
  assert.equal((await authorize(ann, 'read', '/', 4)).position, 4);
  assert.equal((await authorize(ann, 'read', '/', 6)).position, 7);
  assert.equal((await authorize(ann, 'read', '/', 6)).position, 7);
  assert.equal(asked.length, 2);
});

test('a scope covers others by whole path segments', () => {
  assert.equal(covers('/', 'subscriptions/s'), true);
  assert.equal(covers('subscriptions/s', 'subscriptions/s/resourceGroups/g/vaults/v/keys/k'), true);
  assert.equal(covers('subscriptions/s', 'subscriptions/s2'), false);
  assert.equal(covers('subscriptions/s/resourceGroups/g', 'subscriptions/s'), false);
});

test('KV-73: a grant by a role is used under the scope of that role, and nowhere else', async () => {
  const { authorize, asked } = authorizer(() => ({ ...yes, grantedAt: 'subscriptions/s' }));
  await authorize(ann, 'read', 'subscriptions/s/resourceGroups/g/disks/d1');
  assert.equal((await authorize(ann, 'read', 'subscriptions/s/resourceGroups/g/disks/d2')).allowed, true);
  assert.equal((await authorize(ann, 'read', 'subscriptions/s')).allowed, true);
  assert.equal(asked.length, 1);
  await authorize(ann, 'write', 'subscriptions/s/resourceGroups/g/disks/d2');
  await authorize(principalNamed('bob'), 'read', 'subscriptions/s/resourceGroups/g/disks/d2');
  await authorize(ann, 'read', 'subscriptions/s2');
  await authorize(ann, 'read', '/');
  assert.equal(asked.length, 5);
});

test('KV-70, KV-73: a grant by a role is used for the actions of that role, and for no others', async () => {
  const role = { grantedAt: 'subscriptions/s', grantedActions: ['disks/*'], grantedNotActions: ['disks/delete'] };
  const { authorize, asked } = authorizer(() => ({ ...yes, ...role }));
  await authorize(ann, 'disks/read', 'subscriptions/s/resourceGroups/g');
  assert.equal((await authorize(ann, 'disks/write', 'subscriptions/s')).allowed, true);
  assert.equal(asked.length, 1);
  await authorize(ann, 'disks/delete', 'subscriptions/s/resourceGroups/g');
  await authorize(ann, 'machines/read', 'subscriptions/s/resourceGroups/g');
  await authorize(ann, 'disks/write', 'subscriptions/s2');
  await authorize(principalNamed('bob'), 'disks/write', 'subscriptions/s');
  assert.equal(asked.length, 5);
});

test('G1: a grant for other actions is not used if it is older than the position the caller has consumed', async () => {
  const { authorize, asked } = authorizer(() => ({ ...yes, position: 4, grantedAt: '/', grantedActions: ['*'] }));
  await authorize(ann, 'read', '/');
  await authorize(ann, 'write', '/', 4);
  assert.equal(asked.length, 1);
  await authorize(ann, 'write', '/', 5);
  assert.equal(asked.length, 2);
});

test('KV-73: a refusal is not used for other scopes', async () => {
  const { authorize, asked } = authorizer(() => ({ ...no, grantedAt: '/' }));
  await authorize(ann, 'read', 'subscriptions/s');
  await authorize(ann, 'read', 'subscriptions/s/resourceGroups/g');
  assert.equal(asked.length, 2);
});

test('G1: a grant for other scopes ends with its time to live, which starts when the check is sent', async () => {
  const answers = [Promise.withResolvers<Decision>(), Promise.withResolvers<Decision>()];
  const [late] = answers;
  const { authorize, clock, asked } = authorizer(() => answers.shift()?.promise ?? no);
  const first = authorize(ann, 'read', 'subscriptions/s/resourceGroups/g');
  clock.advance(TTL_MS - 1);
  late?.resolve({ ...yes, grantedAt: '/' });
  await first;
  assert.equal((await authorize(ann, 'read', 'subscriptions/s2')).allowed, true);
  clock.advance(1);
  answers[0]?.resolve(no);
  assert.equal((await authorize(ann, 'read', 'subscriptions/s2')).allowed, false);
  assert.equal(asked.length, 2);
});

test('G1: invalidate drops grants for other scopes, also that of a pending check', async () => {
  const { promise, resolve } = Promise.withResolvers<Decision>();
  const { authorize, invalidate, asked } = authorizer(() =>
    asked.length === 1 ? promise : { ...yes, grantedAt: '/' },
  );
  const first = authorize(ann, 'read', 'subscriptions/s');
  invalidate();
  resolve({ ...yes, grantedAt: '/' });
  await first;
  await authorize(ann, 'read', 'subscriptions/s2');
  assert.equal(asked.length, 2);
  await authorize(ann, 'read', 'subscriptions/s3');
  assert.equal(asked.length, 2);
  invalidate();
  await authorize(ann, 'read', 'subscriptions/s3');
  assert.equal(asked.length, 3);
});

test('G1: a grant for other scopes older than the position the caller has consumed is requested again', async () => {
  const positions = [4, 7];
  const { authorize, asked } = authorizer(() => ({ ...yes, grantedAt: '/', position: positions.shift() ?? 9 }));
  await authorize(ann, 'read', 'subscriptions/s');
  assert.equal((await authorize(ann, 'read', 'subscriptions/s2', 4)).position, 4);
  assert.equal((await authorize(ann, 'read', 'subscriptions/s2', 6)).position, 7);
  assert.equal((await authorize(ann, 'read', 'subscriptions/s3', 6)).position, 7);
  assert.equal(asked.length, 2);
});
