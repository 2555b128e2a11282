import { seedsFrom, testHistories } from './test-histories.ts';

// In `npm test`, simulate.test.ts plays eight others, those kept because they found a bug, and one with a new seed.
testHistories('thirty-two further fixed histories', seedsFrom(9, 40));
