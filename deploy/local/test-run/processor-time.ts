import { appendFileSync, readFileSync } from 'node:fs';
import { isMainThread } from 'node:worker_threads';

/**
 * Preloaded into each test file (`--import=…/processor-time.ts?to=<file>`). When the process ends, it appends a line of JSON to the
 * file: its test file, and the processor time that it and its ended children used, in milliseconds.
 */
const to = new URL(import.meta.url).searchParams.get('to');

/** Ticks of a second in `/proc`: always 100 (`USER_HZ`, proc_pid_stat(5)). */
const ticksPerSecond = 100;

const usedMs = (): number => {
  if (process.platform !== 'linux') {
    // Without the children.
    const { user, system } = process.cpuUsage();
    return (user + system) / 1_000;
  }
  // Fields 14 to 17, user and system time of the process and of its children. The name before may contain any character.
  const fields = readFileSync('/proc/self/stat', 'latin1').split(') ').at(-1)?.split(' ') ?? [];
  return (fields.slice(11, 15).reduce((sum, ticks) => sum + Number(ticks), 0) * 1_000) / ticksPerSecond;
};

// Set by the runner for the files it runs.
if (to !== null && isMainThread && process.env.NODE_TEST_CONTEXT !== undefined) {
  process.on('exit', () => {
    appendFileSync(to, `${JSON.stringify({ file: process.argv[1], ms: usedMs() })}\n`);
  });
}
