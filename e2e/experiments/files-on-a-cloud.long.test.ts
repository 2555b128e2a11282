import { test } from 'node:test';
import { filesOnACloud, isOnlyInLongRuns } from './test-files-on-a-cloud.ts';

// Every kind of fault on real processes. In `npm test`, files-on-a-cloud.test.ts runs the file that no other test comes near.
for (const { name, skip, holds } of filesOnACloud(isOnlyInLongRuns)) {
  test(
    `CMK-26, CMK-102, CMK-104, CMK-107, G1, G2, G3, G4, G5, G7, G10: ${name}: the experiment holds on a local cloud, each machine stops once, and no fact is parked`,
    { skip },
    holds,
  );
}
