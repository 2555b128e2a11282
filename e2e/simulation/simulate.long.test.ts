import { seedsFrom, testHistories } from './test-histories.ts';

// In `npm test`, simulate.test.ts plays sixteen others, those kept because they found a bug, and one with a new seed.
testHistories('twenty-four further fixed histories', seedsFrom(17, 40));
