import { causesNamed } from './causes.ts';
import { testCauses } from './test-cells.ts';

testCauses(
  causesNamed(
    'version disabled',
    'not yet valid',
    'expired',
    'expired, next start',
    'key deleted',
    'key purged',
    'vault deleted',
    'vault deleted and recovered',
  ),
);
