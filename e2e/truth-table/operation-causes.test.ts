import { causesNamed } from './causes.ts';
import { testCauses } from './test-cells.ts';

testCauses(causesNamed('wrapKey taken from the key', 'unwrapKey taken from the key'));
