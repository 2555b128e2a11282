import { runComputeWith } from './planted-compute.ts';

await runComputeWith('every stop names a deleted key');
