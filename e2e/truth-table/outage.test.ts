import { causesNamed } from './causes.ts';
import { testCauses } from './test-cells.ts';

/** So short that an unreachable vault counts as lost within the test. */
const leases = { ttlMs: 1_500, ioPauseTimeoutMs: 200, unreachableGraceMs: 500 };

testCauses(causesNamed('vault unreachable'), { leases, startTimeoutMs: 8_000 });
