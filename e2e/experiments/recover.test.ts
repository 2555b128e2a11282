import assert from 'node:assert/strict';
import { after, before, test } from 'node:test';
import { type OwnCloud, ownCloud } from '../cloud/test-cloud.ts';
import { killAndRecover, openVictim, type Victim } from './test-kills.ts';

let own: OwnCloud;
let victim: Victim;
before(async () => {
  own = await ownCloud();
  victim = await openVictim(own.folder, own.clients);
});
after(() => own?.stop());

for (const seed of [2, 11, 28]) {
  test(`after a runner is killed (seed ${seed}), recover restores its keys and processes; a second recover does nothing`, async (t) => {
    const { atMs, left, wrong } = await killAndRecover(victim, seed);
    t.diagnostic(`killed ${atMs} ms after the start of the timeline; left ${left.join(', ') || 'nothing'}`);
    assert.deepEqual(wrong, []);
  });
}
