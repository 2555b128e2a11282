import { testKills } from './test-kills.ts';

// Two and three steps are open then. recover.test.ts kills while all five are.
testKills([2, 11]);
