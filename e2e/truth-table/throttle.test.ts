import { causesNamed } from './causes.ts';
import { renewedLeases, testCauses } from './test-cells.ts';

testCauses(causesNamed('throttled'), { leases: renewedLeases, startTimeoutMs: 8_000 });
