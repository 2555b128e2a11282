import { causesNamed } from './causes.ts';
import { renewedLeases, testCauses } from './test-cells.ts';

testCauses(causesNamed('expired, next start'), { leases: renewedLeases });
