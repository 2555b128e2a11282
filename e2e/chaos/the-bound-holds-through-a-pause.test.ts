import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { setTimeout as sleep } from 'node:timers/promises';
import { serviceNames } from '@interlock/local/services.ts';
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

/** How long beyond the bound a service is paused. */
const beyondMs = 700;

/** These two are needed to disable a key at all, so they are stopped right after; the others before. NATS is down, so no service receives the event. */
const isNeededToDisable = (service: string): boolean => service === 'key-vault' || service === 'identity';

for (const service of serviceNames) {
  test(`G1, G2, G3, G5: ${service} is paused from a revocation without events until beyond the bound, then resumes: no I/O is acknowledged whose last check falls after the bound`, (t) =>
    withTrial(chaos, async (trial) => {
      await chaos.kill('nats');
      let from = 0;
      if (!isNeededToDisable(service)) from = chaos.pause(service);
      const t0 = await disableKey(chaos, trial);
      if (isNeededToDisable(service)) from = chaos.pause(service);
      await sleep(Math.max(0, t0 + times.leaseTtlMs + beyondMs - Date.now()));
      const to = chaos.resume(service);

      const withinMs = to - t0 + times.sweepIntervalMs + times.guestStopTimeoutMs;
      const stoppedMs = await machinesStop(chaos, trial, { t0, withinMs });
      t.diagnostic(`paused for ${to - from} ms; last guest gone ${stoppedMs} ms after t0`);
      const isHost = service === 'disk';
      await atWork(trial, to, [...trial.disks.beside, ...trial.disks.pinned]);
      assertPromiseHeld(t, trial, {
        losses: [lossOf(trial, t0)],
        pauses: isHost ? [{ from, to }] : [],
        undisturbed: isHost ? [] : [besides(trial, from, to)],
      });
      const invoked = trial
        .history()
        .filter(({ invokedAt, disk }) => invokedAt > from && trial.disks.lost.includes(disk));
      // A lease may be renewed between the loss and the pause: then the guests were refused, and off, before the pause.
      const wereOff = isNeededToDisable(service) && stoppedMs <= to - t0;
      assert.ok(wereOff || invoked.length > 0, 'the guests continued to send requests');
      await chaos.restart('nats');
      await assertStoppedOnce(chaos, trial);
      await assertComesBack(chaos, trial);
    }));
}
