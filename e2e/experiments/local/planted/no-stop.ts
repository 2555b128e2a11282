import { runComputeWith } from './planted-compute.ts';

await runComputeWith('a lost key stops no machine that runs');
