import { after, before, test } from 'node:test';
import { type ChaosCloud, startChaosCloud, times } from './chaos-cloud.ts';
import {
  assertComesBack,
  assertPromiseHeld,
  assertStoppedOnce,
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

/** With compute and its store up, machines stop by then also without any event (G2). */
const stopWithinMs = times.leaseTtlMs + times.sweepIntervalMs + times.guestStopTimeoutMs;

test('CMK-107, G1, G2, G3, G5, G7: NATS is down when a key is disabled: I/O ends within the bound and machines stop, by the lease alone; when it is back nothing happens twice', (t) =>
  withTrial(chaos, async (trial) => {
    await chaos.kill('nats');
    const t0 = await disableKey(chaos, trial);
    const stoppedMs = await machinesStop(chaos, trial, { t0, withinMs: stopWithinMs });
    t.diagnostic(`last guest gone ${stoppedMs} ms after t0 (promised ${stopWithinMs})`);
    const calmAt = Date.now();
    assertPromiseHeld(t, trial, { losses: [lossOf(trial, t0)], undisturbed: [besides(trial, t0 - 500, calmAt)] });

    await chaos.restart('nats');
    await assertStoppedOnce(chaos, trial);
    await assertComesBack(chaos, trial);
  }));
