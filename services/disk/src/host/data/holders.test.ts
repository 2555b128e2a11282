import assert from 'node:assert/strict';
import { test } from 'node:test';
import type { Decision, Principal } from '@interlock/rpc';
import { logger, seededRandom, virtualClock } from '@interlock/runtime';
import { Holders } from './holders.ts';
import { type Session, SessionEnding } from './session.ts';

const holder: Principal = { kind: 'user', id: 'p', name: 'principals/p', tenant: 't' };
const name = 'subscriptions/s1/resourceGroups/g/disks/d';

/** The checks of one session. The test decides how identity responds. */
const checked = (held: Principal | undefined = holder) => {
  const clock = virtualClock();
  const session = { name, access: { tokenHash: 'h' }, principal: held, isEnded: false, ending: new SessionEnding() };
  const asked: string[] = [];
  const stored: string[] = [];
  let cached: Decision | undefined;
  let answer: () => Promise<Decision> = async () => ({ allowed: true, principalActive: true });
  const holders = new Holders({
    authorize: async (principal, action, scope) => {
      asked.push(`${principal.name} ${action} ${scope}`);
      return answer();
    },
    cachedGrant: () => cached,
    records: {
      async endAccess(disk) {
        stored.push(disk);
      },
    },
    sessions: {
      end() {
        session.isEnded = true;
        session.ending.end();
      },
    },
    periodMs: 1_000,
    graceMs: 10_000,
    clock,
    random: seededRandom(1),
    log: logger({ service: 'disk', clock, write: () => undefined }),
  });
  return {
    clock,
    holders,
    // Only the fields that the checks read.
    session: session as unknown as Session,
    asked,
    stored,
    answerWith: (next: typeof answer) => {
      answer = next;
    },
    cache: (decision: Decision | undefined) => {
      cached = decision;
    },
  };
};

test('a direct access continues while its principal is allowed to begin one', async () => {
  const { holders, session, asked, stored } = checked();
  await holders.check(session);
  assert.deepEqual(asked, [`principals/p compute/disks/beginAccess ${name}`]);
  assert.deepEqual([session.isEnded, stored], [false, []]);
});

test('CMK-28: after the first use, a use under a cached grant makes no call; without the grant the next use calls identity', async () => {
  const { holders, session, asked, cache } = checked();
  cache({ allowed: true, principalActive: true });
  await holders.check(session);
  assert.equal(asked.length, 1, 'the first use notes when identity granted it');
  assert.equal(holders.check(session), undefined);
  assert.equal(asked.length, 1);
  cache({ allowed: true, principalActive: false });
  await holders.check(session);
  assert.equal(asked.length, 2, 'a deleted principal has no grant');
  cache(undefined);
  await holders.check(session);
  assert.equal(asked.length, 3);
});

for (const [what, decision, reason] of [
  ['was deleted', { allowed: false, principalActive: false }, 'PRINCIPAL_DELETED'],
  ['lost its role', { allowed: false, principalActive: true }, 'ACCESS_DENIED'],
] as const) {
  test(`a direct access ends at its next use once its principal ${what}, in memory and in the store`, async () => {
    const { holders, session, stored, answerWith } = checked();
    answerWith(async () => decision);
    await assert.rejects(async () => holders.check(session), { reason });
    assert.deepEqual([session.isEnded, stored], [true, [name]]);
  });
  test(`an unused direct access ends within one check period once its principal ${what}`, async () => {
    const { clock, holders, session, stored, answerWith } = checked();
    const watching = holders.watch(session);
    await clock.pass(3_000);
    assert.equal(session.isEnded, false);
    answerWith(async () => decision);
    await clock.pass(1_000);
    await watching;
    assert.deepEqual([session.isEnded, stored], [true, [name]]);
  });
}

test('if identity does not respond, the use is refused and the access does not end', async () => {
  const { clock, holders, session, stored, answerWith } = checked();
  answerWith(() => Promise.reject(new Error('no answer')));
  await assert.rejects(async () => holders.check(session), /no answer/);
  const watching = holders.watch(session);
  await clock.pass(5_000);
  assert.deepEqual([session.isEnded, stored], [false, []]);
  session.ending.end();
  await watching;
});

for (const [what, noReply] of [
  ['fails', () => Promise.reject(new Error('no answer'))],
  ['does not respond', () => new Promise<Decision>(() => undefined)],
] as const)
  test(`G3: while identity ${what}, the last grant is valid for the grace period, and only the first use waits`, async () => {
    const { clock, holders, session, answerWith } = checked();
    await holders.check(session);
    answerWith(noReply);
    await clock.drive(
      (async () => {
        const startMs = clock.monotonicMs();
        for (let uses = 0; uses < 5; uses += 1) await holders.check(session);
        assert.ok(clock.monotonicMs() - startMs <= 250, 'only the first use waits');
        await clock.sleep(10_000);
      })(),
    );
    const late = Promise.resolve(holders.check(session)).then(
      () => 'granted',
      () => 'refused',
    );
    const outcome = Promise.race([late, clock.sleep(5_000).then(() => 'waits')]);
    assert.notEqual(await clock.drive(outcome), 'granted');
    assert.equal(session.isEnded, false);
  });

test('a refusal that arrives after a use stopped waiting for it ends the access', async () => {
  const { clock, holders, session, stored, answerWith } = checked();
  await holders.check(session);
  const answer = Promise.withResolvers<Decision>();
  answerWith(() => answer.promise);
  await clock.drive(Promise.resolve(holders.check(session)));
  assert.equal(session.isEnded, false);
  answer.resolve({ allowed: false, principalActive: false });
  await clock.pass(1);
  assert.deepEqual([session.isEnded, stored], [true, [name]]);
});

test('the open of a machine has no principal to check', async () => {
  const { holders, session, asked } = checked();
  const opened = { ...session, principal: undefined } as unknown as Session;
  assert.equal(holders.check(opened), undefined);
  await holders.watch(opened);
  assert.deepEqual(asked, []);
});
