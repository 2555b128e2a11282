import { causesNamed } from './causes.ts';
import { testCauses } from './test-cells.ts';

testCauses(
  causesNamed(
    'remove-policy',
    'remove-role',
    'remove-permission get',
    'remove-permission wrap',
    'remove-permission unwrap',
    'switch-permission-model',
    'close-network',
    'delete-identity',
    'set-identity-none',
  ),
);
