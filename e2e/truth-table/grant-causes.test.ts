import { causesNamed } from './causes.ts';
import { testCauses } from './test-cells.ts';

testCauses(
  causesNamed(
    'access policy removed',
    'role removed',
    'get missing',
    'wrapKey missing',
    'unwrapKey missing',
    'permission model switched',
    'identity deleted',
    'identity set to none',
  ),
);
