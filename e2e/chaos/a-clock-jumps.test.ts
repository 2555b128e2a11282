import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { type ChaosCloud, startChaosCloud, times } from './chaos-cloud.ts';
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

let chaos: ChaosCloud;
before(async () => {
  chaos = await startChaosCloud();
});
after(() => chaos?.stop());

const hourMs = 3_600_000;
const stopWithinMs = times.leaseTtlMs + times.sweepIntervalMs + times.guestStopTimeoutMs;

for (const [how, wallMs] of [
  ['back', -hourMs],
  ['forward', hourMs],
] as const) {
  test(`G1, G3, G5: the wall clock of the disk host jumps an hour ${how}: I/O continues, and the bound is not longer`, (t) =>
    withTrial(chaos, async (trial) => {
      const { lost, beside, pinned } = trial.disks;
      const from = Date.now();
      await chaos.shiftClocks('disk', { wallMs, bootMs: 0 });
      // Longer than a lease: it is won again with the clock as it is now.
      await sleep(times.leaseTtlMs + 500);
      const disks = [...lost, ...beside, ...pinned];
      const undisturbed = [{ disks, from, to: Date.now(), gapMsMax: 1_500 }];
      // No event arrives: what ends the lease is its age, or the vault's no at its renewal.
      await chaos.kill('nats');
      const t0 = await disableKey(chaos, trial);
      await sleep(times.leaseTtlMs + 500);
      undisturbed.push(besides(trial, t0, Date.now()));
      assertPromiseHeld(t, trial, { losses: [lossOf(trial, t0)], undisturbed });
      // A host ahead of the others rejects their tokens as expired: no caller reaches it, and machines wait for it or for events.
      const askableAt = wallMs > 0 ? Date.now() : t0;
      if (wallMs > 0) await chaos.heal();
      await machinesStop(chaos, trial, { t0: askableAt, withinMs: stopWithinMs });
      // Nor since, while the clock went back to where it was.
      assertPromiseHeld(t, trial, { losses: [lossOf(trial, t0)] });
      await chaos.heal();
      await assertStoppedOnce(chaos, trial);
      await assertComesBack(chaos, trial);
    }));
}

test('G1, G3, G5: the disk host was suspended for an hour, by its boot clock: its leases are over at once, and I/O waits for a fresh yes', (t) =>
  withTrial(chaos, async (trial) => {
    // The vault does not respond: only the age of the lease can end it.
    chaos.pause('key-vault');
    const jumpedAt = Date.now();
    await chaos.shiftClocks('disk', { wallMs: 0, bootMs: hourMs });
    const noticeMs = times.leaseTtlMs / 2;
    await sleep(noticeMs + 300);
    const restoredAt = chaos.resume('key-vault');
    await atWork(trial, restoredAt, trial.disks.lost);
    const loss = lossOf(trial, jumpedAt, { boundMs: noticeMs, restoredAt, reasons: ['KEY_VAULT_UNREACHABLE'] });
    assertPromiseHeld(t, trial, { losses: [loss], undisturbed: [besides(trial, jumpedAt, Date.now())] });
    const good = trial.history().filter(({ ok, disk }) => ok && trial.disks.lost.includes(disk));
    const pausedMs = Math.max(...good.map((io, at) => io.completedAt - (good[at - 1] ?? io).completedAt));
    assert.ok(pausedMs > noticeMs / 4, `I/O paused, for ${pausedMs} ms`);
  }));
