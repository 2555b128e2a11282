import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { RpcFailure } from '@interlock/rpc';
import { usableMs } from '@interlock/runtime';
import { openDisk } from '../../testing/test-one-disk.ts';
import { setName } from '../test-disk-host.ts';
import { startLeaseHost } from './test-lease-host.ts';
import { noReply, refusal } from './test-vault.ts';

const limit = { timeout: 180_000 };

test(
  'CMK-113: one check for each set, key version and host renews the lease, early and with jitter',
  limit,
  async () => {
    const { host, clock, terms, open, lease, until, pass, stop } = await startLeaseHost();
    const disks = [await open('d1'), await open('d2'), await open('d3')];
    const asked = host.checks.length;
    const intervals: number[] = [];
    let last = clock.monotonicMs();
    let seen = asked;
    await until(() => {
      if (host.checks.length > seen) {
        intervals.push(clock.monotonicMs() - last);
        last = clock.monotonicMs();
        seen = host.checks.length;
      }
      return seen >= asked + 12;
    });
    for (const ms of intervals.slice(1)) assert.ok(ms >= terms.ttlMs / 3 && ms <= terms.ttlMs / 2, `${ms}`);
    assert.ok(new Set(intervals).size > 6, 'with jitter');
    for (const { wrappedProbe } of host.checks.slice(asked)) assert.ok(wrappedProbe.length > 0, 'with an unwrap');
    for (const disk of disks) assert.equal(await disk.read(), 'ok');
    const shown = await lease();
    assert.deepEqual(
      { state: shown?.state, open: shown?.openCount, pinned: shown?.pinnedCount, reason: shown?.reason },
      { state: 'HELD', open: 3, pinned: 0, reason: 'KEY_ACCESS_REASON_UNSPECIFIED' },
    );
    for (const disk of disks) await disk.close();
    const ended = host.checks.length;
    await pass(terms.ttlMs * 2);
    assert.equal(host.checks.length, ended, 'an unused key is not checked');
    assert.equal(await lease(), undefined);
    await stop();
  },
);

const unmade = (): Error => new Rejection('NOT_FOUND', 'PRINCIPAL_NOT_FOUND', 'principals/next does not exist');
const noAnswers: readonly (readonly [string, () => Error])[] = [
  ['unavailable', noReply],
  ['timeout', () => new RpcFailure('DEADLINE_EXCEEDED', 'CheckAccess', 'key-vault', 'late')],
  ['internal error', () => new RpcFailure('INTERNAL', 'CheckAccess', 'key-vault', 'broken')],
  ['TLS failure', () => new RpcFailure('UNKNOWN', 'CheckAccess', 'key-vault', 'handshake')],
  ['bare 403', () => new RpcFailure('PERMISSION_DENIED', 'CheckAccess', 'proxy', 'forbidden')],
  ['bare 404', () => new RpcFailure('NOT_FOUND', 'CheckAccess', 'proxy', 'not found')],
  ['bare precondition', () => new RpcFailure('FAILED_PRECONDITION', 'CheckAccess', 'proxy', 'KEY_DISABLED')],
  ['throttled', () => new Rejection('RESOURCE_EXHAUSTED', 'THROTTLED', 'slower', { retryAfterMs: '1000' })],
  ['dependency', () => new Rejection('UNAVAILABLE', 'DEPENDENCY_UNAVAILABLE', 'identity is away')],
  ['unauthenticated', () => new Rejection('UNAUTHENTICATED', 'TOKEN_EXPIRED', 'expired')],
  ['identity being created', unmade],
  ['bug', () => new TypeError('undefined is not a function')],
];
for (const [what, error] of noAnswers) {
  test(
    `G1: ${what} is no response: the lease runs to its end without an extension, then I/O pauses and fails as unreachable`,
    limit,
    async () => {
      const { host, clock, terms, open, lease, pass, stop } = await startLeaseHost();
      const disk = await open('d');
      const wonMs = clock.monotonicMs() - Number((await lease())?.ageMs);
      host.setVault(error);
      await pass(wonMs + usableMs(terms.ttlMs) - 100 - clock.monotonicMs());
      assert.equal(await disk.read(), 'ok', 'up to its end');
      await pass(200);
      const askedMs = clock.monotonicMs();
      assert.match(await disk.read(), /^(KEY_VAULT_UNREACHABLE|THROTTLED)$/);
      assert.equal(clock.monotonicMs() - askedMs, terms.ioPauseTimeoutMs, 'after the pause');
      const shown = await lease();
      assert.deepEqual(
        { state: shown?.state, reason: shown?.reason, expiresInMs: shown?.expiresInMs },
        { state: 'PAUSED', reason: 'KEY_VAULT_UNREACHABLE', expiresInMs: 0 },
      );
      assert.ok(shown?.silentTime && shown.silentReason !== '');
      assert.equal((await host.disks.getDisk({ name: disk.name })).availability, 'AVAILABLE', 'not shown as lost yet');
      host.setVault('well');
      assert.equal(await disk.read(), 'ok', 'a response restores the lease');
      await stop();
    },
  );
}

test(
  'G10: an open as an identity that is still being created fails with UNAVAILABLE, not with a loss',
  limit,
  async () => {
    const { host, open, stop } = await startLeaseHost();
    host.setVault(unmade);
    await assert.rejects(open('d'), { code: 'UNAVAILABLE', reason: 'KEY_VAULT_UNREACHABLE' });
    await stop();
  },
);

test(
  'CMK-107, G1: the lease time starts when the request is sent, however long the response takes',
  limit,
  async () => {
    const { host, clock, terms, open, until, pass, stop } = await startLeaseHost();
    const disk = await open('d');
    host.setDelay(2_000);
    let sentMs = 0;
    const before = host.checks.length;
    await until(() => {
      if (host.checks.length === before) return false;
      sentMs = clock.monotonicMs();
      return true;
    });
    // This grant is on its way. Later requests get no response.
    await pass(1_500);
    host.setVault(noReply);
    await pass(sentMs + usableMs(terms.ttlMs) - 1 - clock.monotonicMs());
    host.setDelay(0);
    assert.equal(await disk.read(), 'ok');
    await pass(1);
    const read = disk.begin();
    await pass(terms.ioPauseTimeoutMs);
    assert.equal(read.outcome(), 'KEY_VAULT_UNREACHABLE');
    await stop();
  },
);

test('G1: a refusal ends the lease at once, for every disk under it', limit, async () => {
  const { host, open, lease, until, stop } = await startLeaseHost();
  const disks = [await open('d1'), await open('d2')];
  host.setEpoch(5);
  host.setVault(refusal('KEY_DISABLED', 5));
  await until(async () => (await lease())?.state === 'LOST');
  for (const disk of disks) assert.equal(await disk.read(), 'KEY_DISABLED');
  assert.equal(await disks[0]?.flush(), 'ok', 'what was acknowledged still reaches stable storage');
  assert.equal((await lease())?.reason, 'KEY_DISABLED');
  await stop();
});

test('KV-88: an unwrap that is refused after a granted check ends the lease with ACCESS_DENIED', limit, async () => {
  const { host, open, lease, stop } = await startLeaseHost();
  const disk = await open('d1');
  host.setEpoch(5);
  host.setVault((what) => (what === 'unwrapKey' ? refusal('KEY_OPERATION_NOT_ALLOWED', 5)(what) : undefined));
  await assert.rejects(open('d2'), { reason: 'ACCESS_DENIED' });
  assert.equal(await disk.read(), 'ACCESS_DENIED');
  assert.deepEqual([(await lease())?.state, (await lease())?.reason], ['LOST', 'ACCESS_DENIED']);
  await stop();
});

test('G1, G3: two lost responses in a row do not pause I/O', limit, async () => {
  const { host, clock, terms, open, pass, stop } = await startLeaseHost();
  const disk = await open('d');
  for (let round = 0; round < 10; round += 1) {
    let lost = 0;
    host.setVault(() => {
      lost += 1;
      return lost <= 2 ? noReply() : undefined;
    });
    for (let step = 0; step < 20; step += 1) {
      const beganMs = clock.monotonicMs();
      assert.equal(await disk.read(), 'ok');
      assert.equal(clock.monotonicMs(), beganMs, 'without a pause');
      await pass(terms.ttlMs / 20);
    }
    assert.ok(lost >= 2);
  }
  await stop();
});

test('G1: a suspend of the machine ends its leases; a change of the wall clock does not', limit, async () => {
  const { host, clock, terms, open, lease, pass, stop } = await startLeaseHost();
  const disk = await open('d');
  clock.stepWallClock(86_400_000);
  assert.equal(await disk.read(), 'ok');
  clock.stepWallClock(-2 * 86_400_000);
  await pass(terms.ttlMs * 3);
  assert.equal((await lease())?.state, 'HELD');
  host.setVault(noReply);
  assert.equal(await disk.read(), 'ok');
  clock.suspend(terms.ttlMs);
  assert.equal(await disk.read(), 'KEY_VAULT_UNREACHABLE');
  host.setVault('well');
  assert.equal(await disk.read(), 'ok');
  await stop();
});

test(
  'G2: an outage beyond the grace period is shown and reported as a loss, until the vault responds',
  limit,
  async () => {
    const { host, clock, terms, open, lease, run, until, stop } = await startLeaseHost();
    const disk = await open('d');
    const shownDisk = async () => run(host.disks.getDisk({ name: disk.name }));
    const listed = async (): Promise<readonly string[]> => {
      const { diskEncryptionSet = '' } = (await lease()) ?? {};
      const { disks } = await run(host.disks.listDisks({ diskEncryptionSet, unavailableOnly: true }));
      return disks.map(({ name }) => name);
    };
    const epoch = (await lease())?.accessEpoch;
    host.setVault(noReply);
    await until(async () => (await lease())?.state === 'PAUSED');
    assert.deepEqual(await listed(), [], 'a pause is no loss yet');
    const endedMs = clock.monotonicMs();
    await until(() => host.reports.length > 0);
    assert.ok(Math.abs(clock.monotonicMs() - endedMs - terms.unreachableGraceMs) <= 10);
    const [report] = host.reports;
    assert.deepEqual(
      { reason: report?.reason, keyVersion: report?.keyVersion, epoch: report?.accessEpoch },
      { reason: 'KEY_VAULT_UNREACHABLE', keyVersion: (await lease())?.keyVersion, epoch },
    );
    const { availability, unavailableReason } = await shownDisk();
    assert.deepEqual(
      { availability, unavailableReason },
      { availability: 'UNAVAILABLE', unavailableReason: 'KEY_VAULT_UNREACHABLE' },
    );
    assert.deepEqual(await listed(), [disk.name]);
    host.setEpoch(7);
    host.setVault(refusal('KEY_DELETED', 7));
    await until(async () => (await shownDisk()).unavailableReason === 'KEY_DELETED');
    await until(() => host.reports.length > 1);
    assert.equal(host.reports[1]?.reason, 'KEY_DELETED', 'the reason is corrected');
    host.setVault('well');
    await until(async () => (await shownDisk()).availability === 'AVAILABLE');
    assert.equal((await lease())?.report, 'REPORT_UNSPECIFIED');
    await stop();
  },
);

for (const [end, behaviour] of [
  ['responds', 'well'],
  ['refuses', refusal('KEY_DELETED', 7)],
] as const) {
  test(
    `CMK-120: an outage that closed every disk under a key ends when the vault ${end}, not when the lease ends`,
    limit,
    async () => {
      const { host, open, lease, run, until, pass, stop } = await startLeaseHost();
      const disk = await open('d');
      const shown = async () => (await run(host.disks.getDisk({ name: disk.name }))).unavailableReason;
      host.setVault(noReply);
      await until(() => host.reports.length > 0);
      // As compute does after the report.
      await disk.close();
      await pass(300_000);
      assert.equal(await shown(), 'KEY_VAULT_UNREACHABLE');
      assert.equal(await lease(), undefined, 'no user');
      host.setEpoch(7);
      host.setVault(behaviour);
      await until(async () => (await shown()) !== 'KEY_VAULT_UNREACHABLE');
      assert.equal(await shown(), behaviour === 'well' ? 'KEY_ACCESS_REASON_UNSPECIFIED' : 'KEY_DELETED');
      const asked = host.checks.length;
      await pass(300_000);
      assert.equal(host.checks.length, asked, 'an unused key is not checked');
      await stop();
    },
  );
}

test(
  'CMK-120: after the disk that used the key last is deleted, an earlier one finds that an outage is over',
  limit,
  async () => {
    const { host, open, run, until, pass, stop } = await startLeaseHost();
    const [first, other] = [await open('d1'), await open('d2')];
    host.setVault(noReply);
    await until(() => host.reports.length > 0);
    await other.close();
    await first.close();
    const virtualMachine = (await run(host.disks.getDisk({ name: first.name }))).managedBy;
    await run(host.disks.detachDisk({ name: first.name, virtualMachine }));
    await run(host.disks.deleteDisk({ name: first.name }));
    await pass(60_000);
    assert.equal((await run(host.disks.getDisk({ name: other.name }))).availability, 'UNAVAILABLE');
    host.setVault('well');
    await pass(60_000);
    assert.equal((await run(host.disks.getDisk({ name: other.name }))).availability, 'AVAILABLE');
    await stop();
  },
);

test('G2: a loss is reported until compute accepts it, and not again afterwards', limit, async () => {
  const { host, open, lease, until, pass, stop } = await startLeaseHost();
  const disk = await open('d');
  host.setCompute(noReply);
  host.setEpoch(5);
  host.setVault(refusal('KEY_DISABLED', 5));
  await until(() => host.reports.length >= 4);
  assert.equal((await lease())?.report, 'PENDING');
  host.setCompute('accepts');
  await until(async () => (await lease())?.report === 'ACCEPTED');
  const told = host.reports.length;
  assert.equal(host.reports.at(-1)?.accessEpoch, 5);
  assert.equal(await disk.read(), 'KEY_DISABLED');
  await pass(120_000);
  assert.equal(host.reports.length, told, 'later checks do not repeat the report');
  await stop();
});

test('G2: a published loss is not reported to compute if its disks are closed soon', limit, async () => {
  const { host, clock, open, pass, stop } = await startLeaseHost();
  const disk = await open('d');
  const { keyVersion } = host.keyOf('subscriptions/s/resourceGroups/g/diskEncryptionSets/one');
  const value = {
    set: 'subscriptions/s/resourceGroups/g/diskEncryptionSets/one',
    keyVersion,
    reason: 'KEY_DISABLED',
    accessEpoch: 5,
    since: new Date(clock.now()),
    partial: false,
  } as const;
  await host.publish('KeyAccessLost', { $case: 'keyAccessLost', value });
  assert.equal(await disk.read(), 'KEY_DISABLED');
  await disk.close();
  await pass(60_000);
  assert.equal(host.reports.length, 0);
  await stop();
});

test(
  'G4, CMK-106: a loss that arrives while an open waits for its unwrap refuses the open, also of an ultra disk',
  limit,
  async () => {
    for (const sku of ['ULTRA', 'PREMIUM_SSD'] as const) {
      const { host, clock, run, open, stop } = await startLeaseHost();
      const set = 'subscriptions/s/resourceGroups/g/diskEncryptionSets/one';
      await (await open('d', sku)).close();
      const hold = host.holdUnwrap();
      const opening = openDisk(host.disks, {
        name: 'subscriptions/s/resourceGroups/g/disks/d',
        virtualMachine: 'subscriptions/s/resourceGroups/g/virtualMachines/vm-d',
      });
      opening.catch(() => undefined);
      await run(hold.reached);
      const { keyVersion } = host.keyOf(set);
      const loss = { set, keyVersion, accessEpoch: 5, since: new Date(clock.now()), partial: false };
      await host.publish('KeyAccessLost', { $case: 'keyAccessLost', value: { ...loss, reason: 'KEY_EXPIRED' } });
      hold.release();
      await assert.rejects(run(opening), { reason: 'KEY_EXPIRED' });
      await stop();
    }
  },
);

test(
  'G3, CMK-102: an ultra disk of a running machine keeps its I/O through a loss or an outage, shown as pinned',
  limit,
  async () => {
    for (const [behaviour, pinnedFor] of [
      [refusal('KEY_DISABLED', 5), 'LEASE_PINNED'],
      [noReply, 'LEASE_PINNED'],
    ] as const) {
      const { host, terms, open, lease, run, pass, stop } = await startLeaseHost();
      const ultra = await open('u', 'ULTRA');
      const other = await open('p');
      host.setEpoch(5);
      host.setVault(behaviour);
      await pass(terms.ttlMs + terms.unreachableGraceMs + 1_000);
      for (const outcome of [await ultra.read(), await ultra.write(), await ultra.flush()]) assert.equal(outcome, 'ok');
      assert.notEqual(await other.read(), 'ok');
      assert.equal((await run(host.disks.getDisk({ name: ultra.name }))).availability, pinnedFor);
      const shown = await lease();
      assert.deepEqual(
        { state: shown?.state, open: shown?.openCount, pinned: shown?.pinnedCount },
        { state: 'PINNED', open: 2, pinned: 1 },
      );
      const parent = 'subscriptions/s/resourceGroups/g';
      await assert.rejects(run(host.disks.createSnapshot({ parent, snapshotId: 's', sourceDisk: ultra.name })));
      await assert.rejects(
        run(openDisk(host.disks, { name: ultra.name, virtualMachine: `${parent}/virtualMachines/vm-u` })),
      );
      assert.equal(await ultra.read(), 'ok', 'what was refused changed nothing');
      await ultra.close();
      assert.equal(await ultra.read(), 'ATTACH_EPOCH_OUTDATED');
      assert.equal((await lease())?.pinnedCount, 0);
      await stop();
    }
  },
);

test(
  'CMK-102: a restarted host fetches the DEK of an ultra disk before any read, and keeps it after a loss',
  limit,
  async () => {
    const { host, open, lease, run, until, stop } = await startLeaseHost();
    const ultra = await open('u', 'ULTRA');
    const other = await open('d');
    // The first unwrap after the restart gets no response. It is retried with the next grant.
    const silent = { left: 1 };
    host.setVault((what) => (what === 'unwrapKey' && silent.left-- > 0 ? noReply() : undefined));
    const before = host.unwraps();
    await run(host.restart());
    await until(() => host.unwraps() > before);
    assert.equal((await lease())?.state, 'HELD');
    host.setEpoch(5);
    host.setVault(refusal('KEY_DISABLED', 5));
    await until(async () => (await lease())?.state === 'PINNED');
    assert.equal(await ultra.read(), 'ok');
    assert.equal(await other.read(), 'KEY_DISABLED');
    const { availability } = await run(host.disks.getDisk({ name: ultra.name }));
    assert.equal(availability, 'LEASE_PINNED');
    await stop();
  },
);

test('CMK-102: after a restart under a lost key, an ultra disk is unavailable before any read', limit, async () => {
  const { host, open, lease, run, until, stop } = await startLeaseHost();
  const ultra = await open('u', 'ULTRA');
  host.setEpoch(5);
  host.setVault(refusal('KEY_DISABLED', 5));
  await run(host.restart());
  await until(async () => (await lease())?.state === 'LOST');
  const { availability, unavailableReason } = await run(host.disks.getDisk({ name: ultra.name }));
  assert.deepEqual(
    { availability, unavailableReason },
    { availability: 'UNAVAILABLE', unavailableReason: 'KEY_DISABLED' },
  );
  assert.equal(await ultra.read(), 'KEY_DISABLED');
  await until(() => host.reports.length > 0);
  await stop();
});

test(
  'CMK-104: if the key expiry of a set is NEXT_START, open disks outlive the expiry and a new open fails',
  limit,
  async () => {
    const { host, terms, open, lease, run, until, pass, stop } = await startLeaseHost();
    host.setExpiryPolicy('NEXT_START');
    const set = 'subscriptions/s/resourceGroups/g/diskEncryptionSets/one';
    const change = (keyExpiry: 'STOP' | 'NEXT_START') =>
      host.publish('SetOptionsChanged', {
        $case: 'setOptionsChanged',
        value: { set, keyExpiry, autoRestart: false },
      });
    const disk = await open('d');
    host.setEpoch(5);
    const expired = new Rejection('FAILED_PRECONDITION', 'KEY_EXPIRED', 'expired', { access_epoch: '5' });
    host.setVault((what) =>
      what === 'checkAccess' && host.checks.at(-1)?.allowExpired === false ? expired : undefined,
    );
    await pass(terms.ttlMs * 3);
    assert.equal(await disk.read(), 'ok');
    const virtualMachine = 'subscriptions/s/resourceGroups/g/virtualMachines/vm-d';
    await assert.rejects(run(openDisk(host.disks, { name: disk.name, virtualMachine })), { reason: 'KEY_EXPIRED' });
    await pass(terms.ttlMs * 3);
    assert.equal(await disk.read(), 'ok', 'the refusal ended nothing');
    assert.equal((await lease())?.state, 'HELD');
    await change('NEXT_START');
    await run(host.restart());
    assert.equal(await disk.read(), 'ok', 'also after a restart of the host');
    assert.equal(host.reports.length, 0);
    await change('STOP');
    await until(async () => (await disk.read()) === 'KEY_EXPIRED');
    await stop();
  },
);

/** A disk that is open under an expired key of a set with NEXT_START. */
const openBeyondExpiry = async () => {
  const started = await startLeaseHost();
  const { host, terms, open, pass } = started;
  host.setExpiryPolicy('NEXT_START');
  const disk = await open('d');
  const value = {
    set: setName,
    keyExpiry: 'NEXT_START',
    autoRestart: false,
  } as const;
  await host.publish('SetOptionsChanged', { $case: 'setOptionsChanged', value });
  host.setEpoch(5);
  const expired = refusal('KEY_EXPIRED', 5, 'checkAccess');
  host.setVault((what) => (host.checks.at(-1)?.allowExpired === false ? expired(what) : undefined));
  await pass(terms.ttlMs * 2);
  assert.equal(await disk.read(), 'ok');
  return { ...started, disk };
};

test(
  'G1, G2, CMK-104: if a set changes to STOP and its fact does not arrive, its disks still stop with the lease',
  limit,
  async () => {
    const { host, terms, lease, pass, until, disk, stop } = await openBeyondExpiry();
    host.setExpiryPolicy('STOP');
    await pass(terms.ttlMs);
    assert.equal(await disk.read(), 'KEY_EXPIRED');
    assert.equal((await lease())?.state, 'LOST');
    await until(() => host.reports.some(({ reason }) => reason === 'KEY_EXPIRED'));
    await stop();
  },
);

test(
  'G1, CMK-104: without a response of its set, the lease of an expired key ends, and I/O pauses without a loss',
  limit,
  async () => {
    const { host, terms, lease, pass, disk, stop } = await openBeyondExpiry();
    host.setSets(noReply);
    await pass(terms.ttlMs);
    assert.equal(await disk.read(), 'KEY_VAULT_UNREACHABLE');
    assert.equal((await lease())?.state, 'PAUSED');
    await pass(terms.unreachableGraceMs * 2);
    assert.deepEqual([(await lease())?.countedAsLost, host.reports.length], [false, 0]);
    host.setSets('well');
    assert.equal(await disk.read(), 'ok');
    await stop();
  },
);

test(
  'G3: with a grace period of 0, a host that starts or wakes calls the vault before it counts a key as lost',
  limit,
  async () => {
    const { host, clock, terms, open, lease, run, pass, until, stop } = await startLeaseHost({ unreachableGraceMs: 0 });
    const disk = await open('d');
    host.setDelay(400);
    await run(host.restart());
    await pass(200);
    assert.equal((await lease())?.countedAsLost, false);
    await until(async () => (await lease())?.state === 'HELD');
    clock.suspend(terms.ttlMs);
    assert.equal(await disk.read(), 'ok');
    await pass(terms.ttlMs * 2);
    assert.equal(host.reports.length, 0);
    host.setVault(noReply);
    await until(() => host.reports.length > 0);
    assert.equal(host.reports[0]?.reason, 'KEY_VAULT_UNREACHABLE');
    assert.equal((await lease())?.state, 'PAUSED');
    await stop();
  },
);

test(
  'CMK-39, G3: a late SetDeleted of an earlier set of the same name does not affect disks under the later set',
  limit,
  async () => {
    const { host, terms, open, lease, pass, stop } = await startLeaseHost();
    const [disk, ultra] = [await open('d'), await open('ultra', 'ULTRA')];
    await host.publish('SetDeleted', { $case: 'setDeleted', value: { set: setName } });
    assert.deepEqual([await disk.read(), await ultra.read()], ['ok', 'ok']);
    await pass(terms.ttlMs * 2);
    assert.deepEqual([await disk.read(), await ultra.read()], ['ok', 'ok']);
    assert.deepEqual([(await lease())?.state, (await lease())?.openCount], ['HELD', 2]);
    host.setVault(refusal('KEY_DISABLED', 5));
    await pass(terms.ttlMs);
    assert.deepEqual([await disk.read(), await ultra.read(), (await lease())?.state], ['KEY_DISABLED', 'ok', 'PINNED']);
    await stop();
  },
);
