import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openFindings } from '@interlock/lab/judge/findings';
import { Disturbances } from '@interlock/lab/judge/model/disturbances';
import { createSimulatedCloud } from '../cloud/simulated-cloud.ts';
import { LostWritesJudge } from '../invariants/lost-writes.ts';
import { estateImage } from '../runs/estate-image.ts';
import { openTruth } from '../truth/truth.ts';
import { diskName } from '../workload/estate.ts';
import { crashDisk } from './fault.ts';

test('G5: a flush may fail after the machine of a disk host was lost, also if an earlier fault was to start that host', async () => {
  const { cloud: image, commits } = await estateImage(2);
  const world = await createSimulatedCloud({ seed: 1, diskHosts: 2, image });
  try {
    const truth = openTruth(world);
    for (const committed of commits) truth.apply(committed);
    const { host: name, volumeId } = truth.disks.disks.get(diskName('premium-os')) ?? assert.fail('the disk exists');
    const host = world.diskHosts.find((one) => one.name === name) ?? assert.fail('its host exists');
    const disturbances = new Disturbances(truth.nowMs);
    const lost = new LostWritesJudge({ truth, log: openFindings(truth.nowMs) });
    const restarts: Promise<unknown>[] = [];
    const stage = {
      ...{ world, truth, disturbances, random: world.random },
      judge: { onMachineLost: (of: string) => lost.onMachineLost(of), volumesOfLostMachines: lost.volumes.bind(lost) },
      later: (delayMs: number, work: () => Promise<unknown>) =>
        void restarts.push(world.clock.sleep(delayMs).then(work)),
    } as unknown as Parameters<typeof crashDisk>[0];
    await world.run(async () => {
      crashDisk(stage, host, false, 60_000);
      await world.clock.sleep(1_000);
      crashDisk(stage, host, true, 1_000);
      await world.clock.sleep(50_000);
      const startedMs = disturbances.hostStartedMs(name);
      assert.ok(
        startedMs >= world.settings.hostLeaseTtlMs,
        'the second fault starts it, after the lease of the lost machine',
      );
      await Promise.all(restarts);
      assert.equal(disturbances.hostStartedMs(name), startedMs, 'the first one finds it running');
      assert.ok(world.storage.happenedSince(startedMs, 'flush', volumeId));
    });
  } finally {
    world.close();
  }
});

test('two faults that start one process at the same time wait for it, and one of them has started it', async () => {
  const world = await createSimulatedCloud({ seed: 7 });
  try {
    await world.run(async () => {
      // The next process is on another machine and waits for the lease of this one.
      world.faults.loseMachine('disk');
      const waited = async (): Promise<[boolean, boolean]> => {
        const isStarted = await world.faults.restart('disk');
        return [isStarted, world.clock.monotonicMs() >= world.settings.hostLeaseTtlMs];
      };
      assert.deepEqual((await Promise.all([waited(), waited()])).toSorted(), [
        [false, true],
        [true, true],
      ]);
    });
  } finally {
    world.close();
  }
});
