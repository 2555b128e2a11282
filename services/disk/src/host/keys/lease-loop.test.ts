import assert from 'node:assert/strict';
import { test } from 'node:test';
import { setImmediate as nextTurn } from 'node:timers/promises';
import { lossReasonIn } from '@interlock/access';
import { Rejection, StoreUnavailable } from '@interlock/event-store';
import { RETRY_AFTER_MS, RpcFailure } from '@interlock/rpc';
import { logger, seededRandom, usableMs, virtualClock } from '@interlock/runtime';
import { trace } from '@opentelemetry/api';
import { createKeyAccess } from './key-access.ts';
import { vaultUnreachable } from './key-reasons.ts';
import type { KeyGrant, SentCall } from './lease.ts';
import type { LeaseUser } from './lease-user.ts';
import { openLeases } from './leases.ts';
import type { ReportedLoss } from './loss-reports.ts';

const terms = { ttlMs: 12_000, ioPauseTimeoutMs: 3_000, unreachableGraceMs: 20_000 };
const { ttlMs } = terms;
const key = { set: 'set', keyVersion: 'one' };
const principal = 'principals/one';
const use = { ...key, resource: '' };
const silent = (): Error =>
  vaultUnreachable(use, new Rejection('UNAVAILABLE', 'DEPENDENCY_UNAVAILABLE', 'no connection'));
const lossOf = (accessEpoch: number) => ({ reason: 'KEY_DISABLED', since: 1, traceId: '', accessEpoch }) as const;

/** The lease loop, with users that record what is done to them and a vault that the test controls. */
const startLoop = () => {
  const clock = virtualClock();
  const keyAccess = createKeyAccess(clock, { ttlMs });
  const ending = new AbortController();
  const logged: string[] = [];
  /** When the vault was called, and through which user. */
  const sent: { readonly atMs: number; readonly by: string }[] = [];
  /** The current report to compute about each key. */
  const reported = new Map<string, { readonly loss: ReportedLoss; readonly reportedBy: string }>();
  let answer: () => Error | number = () => 4;
  let delayMs = 0;
  const leases = openLeases({
    keyAccess,
    options: { outlivesExpiry: () => false, confirm: () => assert.fail('no set needs a confirmation') },
    sets: { getDiskEncryptionSet: () => assert.fail('no set is asked') },
    reports: {
      about: ({ keyVersion }: typeof key, loss: ReportedLoss | undefined, reportedBy?: string) => {
        if (loss === undefined) reported.delete(keyVersion);
        else reported.set(keyVersion, { loss, reportedBy: reportedBy ?? '' });
      },
    },
    terms,
    clock,
    random: seededRandom(7),
    log: logger({ service: 'test', clock, write: (line) => logged.push(line) }),
    tracer: trace.getTracer('test'),
    signal: ending.signal,
  });
  const grantOf = (accessEpoch: number, question: SentCall = keyAccess.nextCall()): KeyGrant => ({
    accessEpoch,
    sent: question,
    principal,
  });
  /** A user of the key. @param unwrapped its grant */
  const userOf = (name: string, unwrapped: KeyGrant | undefined, isPinnable = false) => {
    const dropped: string[] = [];
    let grant = unwrapped;
    const user: LeaseUser = {
      name,
      isPinnable,
      accessEpoch: unwrapped?.accessEpoch ?? 3,
      grant: () => grant,
      drop(why) {
        dropped.push(why);
        grant = undefined;
      },
      async probe() {
        sent.push({ atMs: clock.monotonicMs(), by: name });
        const question = keyAccess.nextCall();
        if (delayMs > 0) await clock.sleep(delayMs);
        const said = answer();
        if (lossReasonIn(said) !== undefined)
          keyAccess.lost(key, { ...lossOf(9), reason: 'KEY_DELETED' }, { ...question, principal });
        if (said instanceof Error) throw said;
        keyAccess.granted(key, grantOf(said, question), 'unwrapped');
      },
    };
    return { user, dropped };
  };
  const pass = (ms: number) => clock.drive(clock.sleep(ms));
  const settled = async () => {
    for (let turn = 0; turn < 8; turn += 1) await nextTurn();
  };
  return {
    clock,
    keyAccess,
    leases,
    sent,
    reported,
    logged,
    grantOf,
    userOf,
    pass,
    settled,
    only: () => leases.list()[0],
    setVault: (next: () => Error | number, slowMs = 0) => {
      answer = next;
      delayMs = slowMs;
    },
    /** Intervals between calls to the vault, from that call on, in ms. */
    waitsFrom: (first: number) => sent.slice(first + 1).map(({ atMs }, n) => atMs - (sent[first + n]?.atMs ?? 0)),
    stop: () => ending.abort(),
  };
};

test('G1: when a lease ends, every user that has a data key drops it, except pinned disks', async () => {
  const { keyAccess, leases, grantOf, userOf, pass, setVault, stop } = startLoop();
  const grant = grantOf(4);
  keyAccess.granted(key, grant, 'unwrapped');
  const [open, pinned, without] = [userOf('open', grant), userOf('ultra', grant, true), userOf('closed', undefined)];
  for (const { user } of [open, pinned, without]) leases.join(key, user);
  setVault(silent);
  await pass(usableMs(ttlMs) - 1);
  assert.deepEqual(
    [open, pinned, without].flatMap(({ dropped }) => dropped),
    [],
  );
  await pass(2);
  assert.deepEqual(
    [open, pinned, without].map(({ dropped }) => dropped),
    [['ended'], [], []],
  );
  stop();
});

test('G1, G3: a loss drops data keys that were unwrapped before it, even if a newer grant has already ended it', async () => {
  const { keyAccess, leases, grantOf, userOf, stop } = startLoop();
  const [early, late] = [grantOf(4), grantOf(9)];
  keyAccess.granted(key, late, 'unwrapped');
  const [hit, spared, pinned] = [userOf('early', early), userOf('late', late), userOf('ultra', early, true)];
  for (const { user } of [hit, spared, pinned]) leases.join(key, user);
  keyAccess.lost(key, lossOf(5), 'fact');
  assert.deepEqual(
    [hit, spared, pinned].map(({ dropped }) => dropped),
    [['lost'], [], []],
  );
  assert.ok(keyAccess.lease(key).isHeld(), 'and the lease continues');
  assert.equal(leases.list()[0]?.endedAt, undefined);
  stop();
});

test('renewals keep the start of a lease, repeated refusals keep its end, and a grant after a loss starts it again', async () => {
  const { clock, keyAccess, leases, sent, userOf, only, pass, setVault, stop } = startLoop();
  const { user } = userOf('open', undefined);
  leases.join(key, user);
  await pass(1);
  const wonAt = only()?.wonAt;
  assert.equal(wonAt, clock.now() - 1);
  await pass(3 * ttlMs);
  assert.equal(only()?.wonAt, wonAt);
  keyAccess.lost(key, lossOf(5), 'fact');
  const endedAt = clock.now();
  assert.deepEqual([only()?.wonAt, only()?.endedAt], [undefined, endedAt]);
  setVault(() => new Rejection('FAILED_PRECONDITION', 'KEY_DELETED', 'gone'));
  await pass(3 * ttlMs);
  assert.equal(only()?.endedAt, endedAt, 'the end stays the same');
  const before = sent.length;
  keyAccess.restored(key, 9);
  assert.equal(only()?.endedAt, clock.now(), 'without a loss, the outage starts now');
  await pass(1);
  assert.equal(sent.length, before + 1, 'the vault is called at once');
  setVault(() => 10);
  await pass(ttlMs);
  assert.ok((only()?.wonAt ?? 0) > endedAt);
  assert.equal(only()?.endedAt, undefined);
  stop();
});

test('G2: a lease that is held when its first user joins starts then, and is renewed when its grant is old enough', async () => {
  const { clock, keyAccess, leases, sent, grantOf, userOf, only, pass, stop } = startLoop();
  keyAccess.granted(key, grantOf(4), 'unwrapped');
  await pass(1_000);
  leases.join(key, userOf('open', undefined).user);
  assert.equal(only()?.wonAt, clock.now());
  await pass(ttlMs / 3 - 1_001);
  assert.deepEqual(sent, []);
  await pass(ttlMs / 6 + 2);
  assert.equal(sent.length, 1);
  stop();
});

test('renewals are timed from the request, so a slow response does not delay the next one', async () => {
  const { leases, sent, userOf, pass, setVault, waitsFrom, stop } = startLoop();
  setVault(() => 4, 1_200);
  leases.join(key, userOf('open', undefined).user);
  await pass(10 * ttlMs);
  assert.ok(sent.length > 15);
  for (const ms of waitsFrom(1)) assert.ok(ms >= ttlMs / 3 && ms <= ttlMs / 2, `${ms}`);
  stop();
});

test('calls go through all users in turn, and up to three run at once if a response does not arrive', async () => {
  const { leases, sent, userOf, pass, setVault, waitsFrom, stop } = startLoop();
  for (const name of ['a', 'b', 'c']) leases.join(key, userOf(name, undefined).user);
  await pass(6 * ttlMs);
  assert.deepEqual(
    sent.slice(1, 7).map(({ by }) => by),
    ['a', 'b', 'c', 'a', 'b', 'c'],
  );
  const before = sent.length;
  setVault(() => 4, 100_000);
  await pass(2 * ttlMs);
  assert.equal(sent.length - before, 3, 'three at once, and no more');
  assert.deepEqual(waitsFrom(before), [ttlMs / 8, ttlMs / 8]);
  stop();
});

test('G1: an unreachable vault is retried soon, with growing intervals, and as soon as at first after a response', async () => {
  const { leases, sent, logged, userOf, only, pass, setVault, waitsFrom, stop } = startLoop();
  leases.join(key, userOf('open', undefined).user);
  await pass(1);
  for (let outage = 0; outage < 2; outage += 1) {
    const first = sent.length;
    setVault(silent);
    await pass(2 * ttlMs);
    const [soon = 0, later = 0] = waitsFrom(first);
    assert.ok(soon <= ttlMs / 24, `${soon} after the first failure`);
    assert.ok(later > soon, `${later} after the second`);
    for (const late of waitsFrom(first).slice(4)) assert.ok(late >= ttlMs / 12, `${late}, also when the lease ends`);
    assert.equal(only()?.unanswered?.why, 'DEPENDENCY_UNAVAILABLE');
    assert.equal(
      logged.filter((line) => line.includes('did not reply about a lease')).length,
      outage + 1,
      'logged once',
    );
    setVault(() => 4);
    await pass(ttlMs / 3);
    assert.equal(only()?.unanswered, undefined);
  }
  stop();
});

test('the retry delay that a throttling vault requests is respected, up to a sixth of the lease time', async () => {
  for (const [sentMs, waitMs] of [
    [1_500, 1_500],
    [600_000, ttlMs / 6],
    ['a while', undefined],
  ] as const) {
    const { leases, sent, userOf, pass, setVault, waitsFrom, stop } = startLoop();
    leases.join(key, userOf('open', undefined).user);
    await pass(1);
    const first = sent.length;
    const cause = new Rejection('RESOURCE_EXHAUSTED', 'THROTTLED', 'slower', { [RETRY_AFTER_MS]: String(sentMs) });
    setVault(() => new Rejection('UNAVAILABLE', 'THROTTLED', 'slower', {}, { cause }));
    await pass(ttlMs);
    if (waitMs === undefined) assert.ok(waitsFrom(first).length > 2, 'without a number the usual retry applies');
    else assert.equal(waitsFrom(first)[0], waitMs);
    stop();
  }
});

test('a refusal is a response: it ends the outage, is not logged, and the next call comes after half a lease or more', async () => {
  const { leases, sent, logged, userOf, only, pass, setVault, waitsFrom, stop } = startLoop();
  leases.join(key, userOf('open', undefined).user);
  await pass(1);
  setVault(() => new RpcFailure('DEADLINE_EXCEEDED', 'CheckAccess', 'key-vault', 'late'));
  await pass(ttlMs / 2);
  assert.equal(only()?.unanswered?.why, 'DEADLINE_EXCEEDED');
  const told = logged.length;
  setVault(() => new Rejection('FAILED_PRECONDITION', 'KEY_DELETED', 'gone'));
  await pass(ttlMs / 6 + 1);
  const first = sent.length - 1;
  await pass(5 * ttlMs);
  assert.deepEqual([only()?.unanswered, logged.length], [undefined, told]);
  for (const ms of waitsFrom(first)) assert.ok(ms >= ttlMs / 2 && ms <= ttlMs, `${ms}`);
  stop();
});

test('G2: an outage counts as a loss after the grace period, from the end of the lease or earlier loss, until a grant', async () => {
  const { keyAccess, leases, reported, grantOf, userOf, only, pass, setVault, settled, stop } = startLoop();
  const { ttlMs: _ttl, unreachableGraceMs } = terms;
  setVault(() => 7);
  leases.join(key, userOf('open', undefined).user);
  await pass(1);
  setVault(silent);
  await pass(usableMs(ttlMs) + unreachableGraceMs - 100);
  assert.deepEqual([only()?.isCountedAsLost, leases.outageOf(key), leases.isAnyOut('set')], [false, undefined, false]);
  await pass(200);
  assert.deepEqual([only()?.isCountedAsLost, leases.isAnyOut('set'), leases.isAnyOut('other')], [true, true, false]);
  assert.deepEqual(leases.outageOf(key), { reason: 'KEY_VAULT_UNREACHABLE', since: only()?.endedAt });
  const { loss, reportedBy } = reported.get('one') ?? {};
  assert.deepEqual([loss?.reason, loss?.accessEpoch, reportedBy], ['KEY_VAULT_UNREACHABLE', 7, 'refusal']);

  keyAccess.lost(key, lossOf(8), 'fact');
  assert.deepEqual([only()?.isCountedAsLost, reported.get('one')?.loss.reason], [false, 'KEY_DISABLED']);
  await pass(2 * unreachableGraceMs);
  assert.equal(only()?.isCountedAsLost, false, 'a known loss is no outage, however long the vault is unreachable');
  keyAccess.restored(key, 8);
  await pass(unreachableGraceMs - 100);
  assert.equal(only()?.isCountedAsLost, false, 'the grace period starts when access is restored');
  assert.equal(reported.has('one'), false);
  await pass(200);
  assert.equal(only()?.isCountedAsLost, true);
  assert.equal(
    reported.get('one')?.loss.accessEpoch,
    3,
    'without a grant the epoch of the last unwrap on record is reported',
  );
  leases.join(key, userOf('later', grantOf(6)).user);
  assert.equal(reported.get('one')?.loss.accessEpoch, 6, 'of all users of the key');
  setVault(() => 8);
  await pass(ttlMs);
  await settled();
  assert.deepEqual([only()?.isCountedAsLost, reported.has('one')], [false, false]);
  stop();
});

for (const [why, error] of [
  ['is deleted', new Rejection('NOT_FOUND', 'DISK_NOT_FOUND', 'gone')],
  ['moved to another host', new Rejection('FAILED_PRECONDITION', 'DISK_NOT_HERE', 'another host has it')],
] as const)
  test(`CMK-120: an outage is forgotten when the last disk, which was to check the key, ${why}`, async () => {
    const { leases, userOf, pass, setVault, stop } = startLoop();
    const { user } = userOf('one', undefined);
    leases.join(key, user);
    setVault(silent);
    await pass(2 * (ttlMs + terms.unreachableGraceMs));
    leases.leave(key, user);
    assert.notEqual(leases.outageOf(key), undefined);
    setVault(() => error);
    await pass(2 * ttlMs);
    assert.equal(leases.outageOf(key), undefined);
    stop();
  });

test('G3, G10: local failures are no outage of the vault, and the grace period of a later outage starts with that outage', async () => {
  const { leases, reported, userOf, only, pass, setVault, stop } = startLoop();
  const { unreachableGraceMs } = terms;
  leases.join(key, userOf('open', undefined).user);
  await pass(1);
  // The store of the host, or the header of the only disk under the key, is unavailable.
  for (const own of [
    new StoreUnavailable('no answer'),
    new Rejection('UNAVAILABLE', 'DISK_HOST_LEASE_OVER', 'not renewed'),
    new Rejection('DATA_LOSS', 'HEADER_CORRUPT', 'damaged'),
  ]) {
    setVault(() => own);
    await pass(2 * (ttlMs + unreachableGraceMs));
    assert.equal(only()?.lease.isHeld(), false);
    assert.deepEqual([only()?.isCountedAsLost, leases.outageOf(key), reported.size], [false, undefined, 0]);
  }
  setVault(silent);
  await pass(unreachableGraceMs - 100);
  assert.equal(only()?.isCountedAsLost, false);
  await pass(ttlMs);
  assert.deepEqual([only()?.isCountedAsLost, reported.get('one')?.loss.reason], [true, 'KEY_VAULT_UNREACHABLE']);
  stop();
});

test('G2: a loss is reported with its source while the key has users, and the report ends with the last user', async () => {
  const { keyAccess, leases, reported, userOf, stop } = startLoop();
  const [one, other] = [userOf('one', undefined).user, userOf('other', undefined).user];
  keyAccess.lost(key, lossOf(5), 'fact');
  assert.equal(reported.size, 0);
  leases.join(key, one);
  assert.equal(reported.get('one')?.loss.accessEpoch, 5);
  leases.join(key, other);
  leases.leave(key, one);
  assert.equal(leases.list().length, 1);
  keyAccess.lost(key, lossOf(6), { ...keyAccess.nextCall(), principal });
  assert.deepEqual([reported.get('one')?.loss.accessEpoch, reported.get('one')?.reportedBy], [6, 'refusal']);
  leases.leave(key, other);
  assert.deepEqual([reported.size, leases.list()], [0, []]);
  stop();
});

test('a suspended machine checks at once when it wakes, and resolves the waits for a change', async () => {
  const { clock, keyAccess, leases, sent, userOf, only, pass, settled, stop } = startLoop();
  leases.join(key, userOf('open', undefined).user);
  await pass(1);
  clock.suspend(2 * ttlMs);
  assert.equal(only()?.lease.isHeld(), false);
  const before = sent.length;
  let isReported = false;
  const waiting = leases.changed(key, 60_000, new AbortController().signal).then(() => {
    isReported = true;
  });
  await settled();
  assert.ok(isReported && sent.length === before + 1);
  await waiting;
  assert.ok(keyAccess.lease(key).isHeld());
  const started = clock.monotonicMs();
  await clock.drive(leases.changed(key, 700, new AbortController().signal));
  assert.equal(clock.monotonicMs() - started, 700, 'nothing changes meanwhile');
  stop();
});

test('leases are listed in the order of their names', async () => {
  const { leases, userOf, stop } = startLoop();
  for (const keyVersion of ['two', 'one', 'three']) leases.join({ ...key, keyVersion }, userOf('open', undefined).user);
  assert.deepEqual(
    leases.list().map(({ lease }) => lease.key.keyVersion),
    ['one', 'three', 'two'],
  );
  stop();
});
