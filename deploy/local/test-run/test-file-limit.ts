import { isMainThread } from 'node:worker_threads';

/**
 * Preloaded into each test file (`--import=…/test-file-limit.ts?minutes=N`). A file that has not ended after this many minutes
 * exits with 1, and the runner names it. Node's own limit applies to each test: a file whose tests have ended, but in which
 * something still runs, would block the whole run.
 */
const minutes = Number(new URL(import.meta.url).searchParams.get('minutes'));

// Set by the runner for the files it runs.
if (isMainThread && process.env.NODE_TEST_CONTEXT !== undefined) {
  setTimeout(() => {
    console.error(`Not ended after ${minutes} minutes; still active: ${process.getActiveResourcesInfo().join(', ')}`);
    process.exit(1);
  }, minutes * 60_000).unref();
}
