import { test } from 'node:test';
import { filesOnACloud, isOfClocksOrStores, isOnlyInLongRuns } from './test-files-on-a-cloud.ts';

/** The same faults for another part of the cloud, or at another moment. files-on-a-cloud.test.ts runs two files that no other test comes near. */
const isAnother = (name: string): boolean => isOnlyInLongRuns(name) && !isOfClocksOrStores(name);

for (const { name, skip, holds } of filesOnACloud(isAnother)) {
  test(
    `CMK-26, CMK-102, CMK-104, CMK-107, G1, G2, G3, G4, G5, G7, G10: ${name}: the experiment holds on a local cloud, each machine stops once, and no fact is parked`,
    { skip },
    holds,
  );
}
