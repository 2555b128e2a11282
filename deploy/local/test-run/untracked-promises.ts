import asyncHooks from 'node:async_hooks';
import { isMainThread } from 'node:worker_threads';

/**
 * Preloaded into each test file. `node:test` creates an asynchronous hook, by which it finds the test that an uncaught error
 * belongs to. By default a hook also tracks every promise, and the garbage collector reports the end of each: a fifth to a third
 * of the time of a test that awaits much. Without promises an error that no test caught is reported for the whole file, which
 * fails as before. A test that a suite defines after an `await` would not belong to the suite: e2e/architecture forbids such suites.
 */
if (isMainThread && process.env.NODE_TEST_CONTEXT !== undefined) {
  const { createHook } = asyncHooks;
  // `node:test` loads later, and takes the function from this object. A hook that asks for promises gets them.
  asyncHooks.createHook = (callbacks) => createHook({ trackPromises: false, ...callbacks });
}
