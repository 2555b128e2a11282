import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { until } from '../cloud/until.ts';
import { assignEncryptionRole, untilPower } from '../cloud/world.ts';
import { type ChaosCloud, startChaosCloud, times } from './chaos-cloud.ts';
import { settled, stopsOf, storedEvents } from './facts.ts';
import {
  assertComesBack,
  assertPromiseHeld,
  assertStoppedOnce,
  atWork,
  besides,
  disableKey,
  lossOf,
  machinesStop,
  withTrial,
} from './trial.ts';

/** Longer than a lease, a pause of I/O and a restart of key-vault on a busy machine: all that is seen before machines stop. */
const unreachableGraceMs = 25_000;

let chaos: ChaosCloud;
before(async () => {
  chaos = await startChaosCloud({ UNREACHABLE_GRACE_MS: String(unreachableGraceMs) });
});
after(() => chaos?.stop());

const stopMs = times.sweepIntervalMs + times.guestStopTimeoutMs;
/** Reasons a guest gets while the process of the disk host is gone. */
const hostIsGone = ['UNAVAILABLE', 'DEADLINE_EXCEEDED', 'CANCELLED', 'ATTACH_EPOCH_OUTDATED'];

test('G1, G3, G5, CMK-104: key-vault is down: I/O pauses at the end of the lease, then fails as KEY_VAULT_UNREACHABLE, no machine stops; when it is back I/O continues and nothing is lost', (t) =>
  withTrial(chaos, async (trial) => {
    const t0 = Date.now();
    await chaos.kill('key-vault');
    await sleep(times.leaseTtlMs + times.ioPauseTimeoutMs + 1_000);
    const restoredAt = Date.now();
    await chaos.restart('key-vault');
    await atWork(trial, restoredAt, trial.disks.lost);
    const loss = lossOf(trial, t0, { restoredAt, reasons: ['KEY_VAULT_UNREACHABLE'] });
    assertPromiseHeld(t, trial, { losses: [loss], undisturbed: [besides(trial, t0, Date.now())] });
    const failures = trial.history().filter(({ ok, disk }) => !ok && trial.disks.lost.includes(disk));
    assert.ok(failures.length > 0, 'paused I/O failed in the end');
    const pausedMs = Math.max(
      ...trial
        .history()
        .filter(({ disk, invokedAt }) => trial.disks.lost.includes(disk) && invokedAt > t0)
        .map(({ invokedMonotonicMs, completedMonotonicMs }) => completedMonotonicMs - invokedMonotonicMs),
    );
    t.diagnostic(`longest pause of I/O ${Math.round(pausedMs)} ms (timeout ${times.ioPauseTimeoutMs})`);
    assert.ok(pausedMs > times.ioPauseTimeoutMs / 2, 'I/O paused before it failed');
    // A guest may notice as late as the verdict lets it.
    assert.ok(pausedMs < times.ioPauseTimeoutMs + 1_000, 'and for no longer than it may');
    await settled(chaos.clients);
    for (const stops of (await stopsOf(chaos.cloud, trial.world.machines, trial.since)).values())
      assert.deepEqual(stops, { stopping: 0, stopped: 0 });
  }));

test('G2, G3, G10: key-vault stays down beyond the grace after a loss that no service received: machines stop as KEY_VAULT_UNREACHABLE, and the reason is corrected when the vault is back', (t) =>
  withTrial(chaos, async (trial) => {
    await chaos.kill('nats');
    // Callers of key-vault are paused until it is down: a renewal between the loss and the end of key-vault
    // would show the loss. Requests sent before are answered meanwhile.
    const from = chaos.pause('disk');
    chaos.pause('disk-encryption-set');
    await sleep(200);
    const t0 = await disableKey(chaos, trial);
    await chaos.kill('key-vault');
    chaos.resume('disk-encryption-set');
    const to = chaos.resume('disk');
    const withinMs = times.leaseTtlMs + unreachableGraceMs + stopMs;
    const stoppedMs = await machinesStop(chaos, trial, { t0, withinMs, reason: 'KEY_VAULT_UNREACHABLE' });
    t.diagnostic(`last guest gone ${stoppedMs} ms after t0 (promised ${withinMs})`);
    assert.ok(stoppedMs > unreachableGraceMs, 'not before the grace is over');
    const undisturbed = [besides(trial, to, Date.now())];
    assertPromiseHeld(t, trial, { losses: [lossOf(trial, t0)], pauses: [{ from, to }], undisturbed });

    await chaos.restart('nats');
    await chaos.restart('key-vault');
    for (const name of trial.stopping) {
      await until(`${name} tells the real reason`, async () => {
        const { stopReason } = await chaos.clients.compute.getVirtualMachine({ name });
        return stopReason?.reason === 'KEY_DISABLED';
      });
    }
    await assertStoppedOnce(chaos, trial);
    await assertComesBack(chaos, trial);
  }));

test('G1, G2, G7: disk-encryption-set is down during a revocation: machines stop all the same, once', (t) =>
  withTrial(chaos, async (trial) => {
    await chaos.kill('disk-encryption-set');
    const t0 = await disableKey(chaos, trial);
    const withinMs = times.leaseTtlMs + stopMs;
    const stoppedMs = await machinesStop(chaos, trial, { t0, withinMs });
    t.diagnostic(`last guest gone ${stoppedMs} ms after t0 (promised ${withinMs})`);
    assertPromiseHeld(t, trial, { losses: [lossOf(trial, t0)], undisturbed: [besides(trial, t0 - 500, Date.now())] });
    await chaos.restart('disk-encryption-set');
    await assertStoppedOnce(chaos, trial);
    await assertComesBack(chaos, trial);
  }));

test('G1, G2, CMK-26: identity ends with its last act, the removal of a role, and NATS is down: I/O ends within bound and authzTtl', (t) =>
  withTrial(
    chaos,
    async (trial) => {
      const { clients } = chaos;
      const { group, vault, identity } = trial.world;
      const scope = `${group}/${vault}`;
      const assignments = (await clients.identity.listRoleAssignments({ pageSize: 1_000 })).roleAssignments;
      const assignment = assignments.find((one) => one.principal === identity && one.scope === scope);
      assert.ok(assignment);
      await chaos.kill('nats');
      await clients.identity.deleteRoleAssignment({ name: assignment.name });
      await chaos.kill('identity');
      const [removed] = (await storedEvents(chaos.cloud, 'identity', ['RoleRemoved'], '%')).slice(-1);
      assert.ok(removed);
      const boundMs = times.leaseTtlMs + times.authzTtlMs;
      const loss = lossOf(trial, removed.at, { boundMs, reasons: ['ACCESS_DENIED', 'KEY_VAULT_UNREACHABLE'] });
      await sleep(boundMs + 1_000);
      assertPromiseHeld(t, trial, { losses: [loss], undisturbed: [besides(trial, removed.at - 500, Date.now())] });

      await chaos.restart('nats');
      await chaos.restart('identity');
      await machinesStop(chaos, trial, { t0: Date.now(), withinMs: stopMs, reason: 'ACCESS_DENIED' });
      // Nor since, while those who had been away came back.
      assertPromiseHeld(t, trial, { losses: [loss] });
      await assertStoppedOnce(chaos, trial);
      await assertComesBack(chaos, trial, trial.stopping, () => assignEncryptionRole(clients, scope, identity));
    },
    { permissionModel: 'ROLE_ASSIGNMENT' },
  ));

test('G3, G4, G5, CMK-102: a disk host that is killed under a lost key has no pin any more: the ultra machine stops with the reason, others go on', (t) =>
  withTrial(chaos, async (trial) => {
    const { clients } = chaos;
    const t0 = await disableKey(chaos, trial);
    await machinesStop(chaos, trial, { t0, withinMs: times.leaseTtlMs + stopMs });
    await atWork(trial, Date.now(), trial.disks.pinned);
    assertPromiseHeld(t, trial, { losses: [lossOf(trial, t0)], undisturbed: [besides(trial, t0 - 500, Date.now())] });

    await chaos.kill('disk');
    const killedAt = Date.now();
    await chaos.restart('disk');
    const { stopReason } = await untilPower(clients, trial.ultra, 'STOPPED');
    assert.equal(stopReason?.reason, 'KEY_DISABLED');
    await atWork(trial, killedAt, trial.disks.beside.slice(-1));
    const unpinned = lossOf(trial, killedAt, { boundMs: 0, disks: trial.disks.pinned });
    assertPromiseHeld(t, trial, { losses: [lossOf(trial, t0), unpinned], otherReasons: hostIsGone });
    await assertComesBack(chaos, trial, [...trial.stopping, trial.ultra]);
  }));

for (const service of ['disk-encryption-set', 'disk', 'compute'] as const) {
  test(`G1, G2, G5, G7: the key is disabled, enabled and disabled again within milliseconds while ${service} is down: machines stop once, and come back once it is enabled for good`, (t) =>
    withTrial(chaos, async (trial) => {
      const { keyVault } = chaos.clients;
      const name = trial.world.keyVersion;
      await chaos.kill(service);
      const first = await disableKey(chaos, trial);
      const restoredAt = Date.now();
      await keyVault.enableKeyVersion({ name });
      const t0 = await disableKey(chaos, trial);
      await sleep(Math.max(0, t0 + times.leaseTtlMs + 500 - Date.now()));
      await chaos.restart(service);
      await machinesStop(chaos, trial, { t0: Date.now(), withinMs: stopMs });
      const losses = [lossOf(trial, t0), lossOf(trial, first, { restoredAt })];
      assertPromiseHeld(t, trial, { losses, otherReasons: hostIsGone });
      // A disk host that was killed has lost its pins with its memory.
      const stopped = service === 'disk' ? [...trial.stopping, trial.ultra] : trial.stopping;
      for (const machine of stopped) await untilPower(chaos.clients, machine, 'STOPPED');
      await assertStoppedOnce(chaos, trial, stopped);
      await assertComesBack(chaos, trial, stopped);
    }));
}
