import assert from 'node:assert/strict';
import { test } from 'node:test';
import { openFindings } from '@interlock/lab/judge/findings';
import { boundsOf } from '@interlock/lab/judge/invariants/bounds';
import { Disturbances } from '@interlock/lab/judge/model/disturbances';
import { simulatedSettings } from '../cloud/deployment.ts';
import { createSimulatedCloud } from '../cloud/simulated-cloud.ts';
import { estateImage } from '../runs/estate-image.ts';
import { openTruth } from '../truth/truth.ts';
import { diskName } from '../workload/estate.ts';
import { checkCiphers } from './ciphers.ts';

test('G1: no host but that of a disk has its data key in memory', async () => {
  const { cloud: image, commits } = await estateImage(2);
  const world = await createSimulatedCloud({ seed: 1, diskHosts: 2, image });
  try {
    const truth = openTruth(world);
    for (const committed of commits) truth.apply(committed);
    const name = diskName('premium-os');
    const host = truth.disks.hostOf(name);
    const other = world.diskHosts.find((one) => one.name !== host)?.name ?? assert.fail('there is another host');
    for (const [holders, expected] of [
      [[host], undefined],
      [[host, other], 'G1'],
      [[other], 'G1'],
    ] as const) {
      const log = openFindings(truth.nowMs);
      const cipherHolders = (disk: string): readonly string[] => (disk === name ? holders : []);
      const bounds = boundsOf(simulatedSettings);
      const disturbances = new Disturbances(truth.nowMs);
      checkCiphers({ world: { cipherHolders, settings: world.settings }, log, truth, disturbances, bounds });
      assert.equal(log.violation?.guarantee, expected, holders.join(' and '));
    }
  } finally {
    world.close();
  }
});
