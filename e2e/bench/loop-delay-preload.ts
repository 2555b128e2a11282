import { renameSync, writeFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { isMainThread } from 'node:worker_threads';

/**
 * Loaded into a service process with `--import`. At each SIGUSR2 it writes to a file what it measured since the last one, in ms:
 * `p99` of the event loop's delay, and `blocked`, the most CPU time that the thread used between two ticks of a timer of 1 ms.
 * The delay also grows when other processes have the CPU, `blocked` does not. Imports nothing of the project, so that nothing of a
 * service is loaded before its own entry point.
 */
const folder = process.env.INTERLOCK_BENCH_LOOP_DELAYS;
const [, service] = /\/services\/([^/]+)\/src\/main\.ts$/.exec(process.argv[1] ?? '') ?? [];

if (folder !== undefined && service !== undefined && isMainThread) {
  const delays = monitorEventLoopDelay({ resolution: 1 });
  delays.enable();
  const cpuUs = (): number => {
    const { user, system } = process.threadCpuUsage();
    return user + system;
  };
  let blockedUs = 0;
  let [lastUs, lastMs] = [cpuUs(), performance.now()];
  setInterval(() => {
    const [nowUs, nowMs] = [cpuUs(), performance.now()];
    // Some systems count CPU time in steps of 4 ms: a thread never used more than the time that passed.
    blockedUs = Math.max(blockedUs, Math.min(nowUs - lastUs, (nowMs - lastMs) * 1_000));
    [lastUs, lastMs] = [nowUs, nowMs];
  }, 1).unref();
  process.on('SIGUSR2', () => {
    const measured = { p99: delays.percentile(99) / 1e6, blocked: blockedUs / 1e3 };
    delays.reset();
    blockedUs = 0;
    const file = `${folder}/${service}.json`;
    writeFileSync(`${file}.new`, JSON.stringify(measured));
    renameSync(`${file}.new`, file);
  });
}
