import { randomInt } from 'node:crypto';
import { seedsFrom, testHistories } from './test-histories.ts';

// A bug that a seed found gets a test that provokes it: the history of a seed changes with the workload and with each service.
// simulate.long.test.ts plays the fixed histories 9 to 40.
testHistories('eight fixed histories, and one with a new seed', [randomInt(2 ** 32), ...seedsFrom(1, 8)]);
