import { causesNamed } from './causes.ts';
import { testCauses } from './test-cells.ts';

testCauses(
  causesNamed(
    'disable-key',
    'disable-version',
    'not-yet-valid',
    'expire-key',
    'delete-key',
    'purge-key',
    'delete-vault',
    'recover-vault-without-role',
  ),
);
