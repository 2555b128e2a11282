import { afterEach } from 'node:test';
import { isMainThread } from 'node:worker_threads';

/**
 * Preloaded into each test file (`--import=…/test-file-limit.ts?minutes=N`). A file in which no test has ended for this many minutes
 * exits with 1, and the runner names it. Node's own limit applies to each test: a file whose tests have ended, but in which
 * something still runs, would block the whole run. A long file on a slow machine continues as long as its tests end.
 */
const minutes = Number(new URL(import.meta.url).searchParams.get('minutes'));

// Set by the runner for the files it runs.
if (isMainThread && process.env.NODE_TEST_CONTEXT !== undefined) {
  const limit = setTimeout(() => {
    const active = process.getActiveResourcesInfo().join(', ');
    console.error(`No test has ended for ${minutes} minutes, nor the file; still active: ${active}`);
    process.exit(1);
  }, minutes * 60_000).unref();
  afterEach(() => void limit.refresh());
}
