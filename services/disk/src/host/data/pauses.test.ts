import assert from 'node:assert/strict';
import { test } from 'node:test';
import { Rejection } from '@interlock/event-store';
import { type VirtualClock, virtualClock } from '@interlock/runtime';
import fc from 'fast-check';
import { closeDisk } from '../../testing/test-one-disk.ts';
import { type LeaseHost, startLeaseHost } from '../keys/test-lease-host.ts';
import { noReply, refusal, type VaultBehaviour } from '../keys/test-vault.ts';
import { openRegaining } from './regaining.ts';
import type { Session } from './session.ts';

const limit = { timeout: 180_000 };
const virtualMachine = 'subscriptions/s/resourceGroups/g/virtualMachines/vm-d';

/** A host whose vault is unreachable and whose lease has expired, and a read that is paused. */
const paused = async () => {
  const world = await startLeaseHost();
  const disk = await world.open('d');
  world.host.setVault(noReply);
  await world.until(async () => (await world.lease())?.state === 'PAUSED');
  const read = disk.begin();
  await world.pass(500);
  assert.equal(read.outcome(), undefined, 'it waits');
  return { ...world, disk, read };
};

test('CMK-113: a paused read continues when the vault responds', limit, async () => {
  const { host, until, read, stop } = await paused();
  host.setVault('well');
  await until(() => read.outcome() !== undefined);
  assert.equal(read.outcome(), 'ok');
  await stop();
});

test('CMK-105: a paused read fails with the reason when the vault refuses', limit, async () => {
  const { host, until, read, stop } = await paused();
  host.setEpoch(5);
  host.setVault(refusal('ACCESS_DENIED', 5));
  await until(() => read.outcome() !== undefined);
  assert.equal(read.outcome(), 'ACCESS_DENIED');
  await stop();
});

test('G1: a paused read checks its access again, and fails if the access has ended', limit, async () => {
  const { host, clock, run, until, read, stop } = await paused();
  const beganMs = clock.monotonicMs();
  await run(closeDisk(host.disks, { name: 'subscriptions/s/resourceGroups/g/disks/d', virtualMachine }));
  host.setVault('well');
  await until(() => read.outcome() !== undefined);
  assert.equal(read.outcome(), 'ATTACH_EPOCH_OUTDATED');
  assert.equal(clock.monotonicMs(), beganMs, 'the read ends without a wait');
  await stop();
});

test('CMK-113: a write can pause for as long as IO_PAUSE_TIMEOUT_MS allows, also beyond 30 s', limit, async () => {
  const { host, lease, open, clock, pass, run, until, stop } = await startLeaseHost({ ioPauseTimeoutMs: 45_000 });
  const disk = await open('d');
  host.setVault(noReply);
  await until(async () => (await lease())?.state === 'PAUSED');
  const write = disk.write();
  const beganMs = clock.monotonicMs();
  await pass(40_000);
  host.setVault('well');
  assert.equal(await run(write), 'ok');
  assert.ok(clock.monotonicMs() - beganMs >= 40_000);
  assert.equal(await disk.flush(), 'ok');
  await stop();
});

test('a paused read with an earlier deadline fails with KEY_VAULT_UNREACHABLE before it', limit, async () => {
  const { clock, disk, stop } = await paused();
  const beganMs = clock.monotonicMs();
  assert.equal(await disk.read({ deadlineMs: 1_000 }), 'KEY_VAULT_UNREACHABLE');
  assert.ok(clock.monotonicMs() - beganMs <= 1_000);
  await stop();
});

test(
  'while the vault is unreachable, a write fails after its pause and a snapshot fails with UNAVAILABLE',
  limit,
  async () => {
    const { host, run, disk, stop } = await paused();
    assert.equal(await disk.write(), 'KEY_VAULT_UNREACHABLE');
    const { name } = disk;
    const parent = 'subscriptions/s/resourceGroups/g';
    await assert.rejects(run(host.disks.createSnapshot({ parent, snapshotId: 's', sourceDisk: name })), {
      code: 'UNAVAILABLE',
    });
    await stop();
  },
);

/** A session without a lease and a DEK, and a function that pauses I/O for it. `state.isHeld` gives it both. */
const waiting = (clock: VirtualClock, limits: { readonly waitingMax: number; readonly bytesMax: number }) => {
  const state = { isHeld: false };
  const lease = { key: { set: 's', keyVersion: 'v' }, yes: () => undefined, isHeld: () => state.isHeld };
  const ending = new AbortController();
  // The part of a session that is used here.
  const session = {
    name: 'd',
    lease,
    ending,
    refuseEnded: () => undefined,
    refuseLost: () => undefined,
    mayUseDek: () => state.isHeld,
  } as unknown as Session;
  const regaining = openRegaining({
    sessions: { fetchDek: async () => undefined },
    leases: { changed: (_key, withinMs, signal) => clock.sleep(Math.min(withinMs, 10), signal) },
    ownership: { isHeld: () => true, regained: async () => undefined },
    terms: { ioPauseTimeoutMs: 5_000 },
    limits,
    clock,
    signal: new AbortController().signal,
  });
  const cause = { correlationId: 'c', causes: [], caller: 'system:test' };
  const { signal } = new AbortController();
  const begin = (bytes: number) => {
    const outcome: { reason?: string } = {};
    regaining(session, { bytes, remainingMs: () => 60_000, signal, cause }).then(
      () => Object.assign(outcome, { reason: 'ok' }),
      (error: unknown) => Object.assign(outcome, { reason: error instanceof Rejection ? error.reason : String(error) }),
    );
    return outcome;
  };
  return { state, begin };
};

test(
  'paused I/O is limited in number and in bytes: excess fails at once, and places are freed again',
  limit,
  async () => {
    for (const limits of [
      { waitingMax: 3, bytesMax: 1_000_000 },
      { waitingMax: 100, bytesMax: 300 },
    ]) {
      const clock = virtualClock();
      const { state, begin } = waiting(clock, limits);
      const first = [begin(100), begin(100), begin(100)];
      const fourth = begin(100);
      await clock.pass(1);
      assert.equal(fourth.reason, 'KEY_VAULT_UNREACHABLE');
      state.isHeld = true;
      await clock.pass(20);
      assert.deepEqual(first, [{ reason: 'ok' }, { reason: 'ok' }, { reason: 'ok' }]);
      state.isHeld = false;
      const later = [begin(100), begin(100), begin(100)];
      await clock.pass(1);
      assert.deepEqual(later, [{}, {}, {}]);
      await clock.pass(5_000);
      assert.deepEqual(
        later.map(({ reason }) => reason),
        Array(3).fill('KEY_VAULT_UNREACHABLE'),
      );
    }
  },
);

/** A phase of the vault: how it responds, for how long, and with which delay. */
interface Episode {
  readonly behaviour: 'well' | 'silent' | 'refuses' | 'flaky';
  readonly ms: number;
  readonly delayMs: number;
}

/** Plays the phases and keeps reading. @returns when each successful read began, and those that came too late */
const play = async ({ host, clock, until, open, stop }: LeaseHost, episodes: readonly Episode[]) => {
  const disk = await open('d');
  const answered: number[] = [];
  const refusedSince: { ms: number | undefined } = { ms: undefined };
  const violations: string[] = [];
  let epoch = 1;
  for (const { behaviour, ms, delayMs } of episodes) {
    epoch += 1;
    host.setEpoch(epoch);
    host.setDelay(delayMs);
    let asked = 0;
    const behaviours: Record<Episode['behaviour'], VaultBehaviour> = {
      well: 'well',
      silent: noReply,
      refuses: refusal('KEY_DISABLED', epoch),
      flaky: () => {
        asked += 1;
        return asked % 3 === 0 ? undefined : noReply();
      },
    };
    host.setVault(behaviours[behaviour]);
    if (behaviour === 'well' || behaviour === 'flaky') refusedSince.ms = undefined;
    // If the vault becomes unreachable after a refusal, the key is still lost.
    else refusedSince.ms ??= clock.monotonicMs();
    const endMs = clock.monotonicMs() + ms;
    while (clock.monotonicMs() < endMs) {
      const read = disk.begin();
      const nextMs = clock.monotonicMs() + 400;
      await until(() => clock.monotonicMs() >= nextMs);
      if (read.outcome() !== 'ok') continue;
      answered.push(nextMs - 400);
      const { ms: sinceMs } = refusedSince;
      if (sinceMs !== undefined && nextMs - 400 >= sinceMs + 10_000) {
        violations.push(`a read at ${nextMs - 400} succeeded, the key was lost at ${sinceMs}`);
      }
    }
  }
  await stop();
  return { answered, violations };
};

test('G1: whatever happens to the vault, no read succeeds later than the lease time after it last granted access', {
  timeout: 120_000,
}, async () => {
  const episode: fc.Arbitrary<Episode> = fc.record({
    behaviour: fc.constantFrom('well', 'silent', 'refuses', 'flaky'),
    ms: fc.integer({ min: 500, max: 25_000 }),
    delayMs: fc.constantFrom(0, 0, 50, 1_500, 4_000),
  });
  let answers = 0;
  await fc.assert(
    fc.asyncProperty(fc.array(episode, { minLength: 2, maxLength: 6 }), async (episodes) => {
      const { answered, violations } = await play(await startLeaseHost(), episodes);
      answers += answered.length;
      assert.deepEqual(violations, []);
    }),
    { numRuns: 25 },
  );
  assert.ok(answers > 100, 'and reads do succeed');
});

test('a host that stops ends its paused reads', limit, async () => {
  const { host, read, until, run } = await paused();
  await run(host.stop());
  await until(() => read.outcome() !== undefined);
  assert.notEqual(read.outcome(), 'ok');
});
