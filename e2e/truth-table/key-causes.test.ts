import { causesNamed } from './causes.ts';
import { testCauses } from './test-cells.ts';

testCauses(
  causesNamed(
    'version disabled',
    'not yet valid',
    'expired',
    'key deleted',
    'key purged',
    'vault deleted',
    'vault deleted and recovered',
  ),
);
