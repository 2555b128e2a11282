import { causesNamed } from './causes.ts';
import { testCauses } from './test-cells.ts';

testCauses(causesNamed('throttle'));
