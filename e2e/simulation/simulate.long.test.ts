import { seedsFrom, testHistories } from './test-histories.ts';

// In `npm test`, simulate.test.ts plays eight others, and one with a new seed.
testHistories('thirty-two further fixed histories', seedsFrom(9, 40));
