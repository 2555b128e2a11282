import { testKills } from './test-kills.ts';

// At this moment, 1.7 s after its start, every step of the timeline is open. recover.long.test.ts kills later ones.
testKills([28]);
