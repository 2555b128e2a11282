import { test } from 'node:test';
import { everyFault, holdsDuring, holdsWithHostsDuring, losses, ofHosts, stopsUntilReturned } from './test-targets.ts';

// Every loss, and every fault on each of its targets. In `npm test`, target.test.ts plays one of each kind, and the truth table every
// cause.
for (const loss of losses)
  test(`CMK-100, CMK-102: "${loss}" stops the machine under the key, but not an ultra one, until access is restored`, () =>
    stopsUntilReturned(loss));

for (const fault of everyFault)
  test(`G1 to G10: no rule is broken when a key is disabled during "${fault}"`, () => holdsDuring(fault));

for (const fault of ofHosts)
  test(`G1 to G10: no rule is broken when a key is disabled on three disk hosts during "${fault}"`, () =>
    holdsWithHostsDuring(fault));
