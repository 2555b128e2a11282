import { isMainThread } from 'node:worker_threads';

/**
 * Preloaded into each file of tests (`--import=…/test-file-limit.ts?minutes=N`): a file that has not ended after so many minutes
 * ends with 1, and the runner names it. Node's own limit is of each test: a file whose tests have ended, but in which something
 * does not end, would block the whole run.
 */
const minutes = Number(new URL(import.meta.url).searchParams.get('minutes'));

// Set by the runner for the files it runs.
if (isMainThread && process.env.NODE_TEST_CONTEXT !== undefined) {
  setTimeout(() => {
    console.error(`Not ended after ${minutes} minutes; still active: ${process.getActiveResourcesInfo().join(', ')}`);
    process.exit(1);
  }, minutes * 60_000).unref();
}
