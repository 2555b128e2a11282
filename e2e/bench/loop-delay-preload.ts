import { renameSync, writeFileSync } from 'node:fs';
import { monitorEventLoopDelay } from 'node:perf_hooks';
import { isMainThread } from 'node:worker_threads';

/**
 * Loaded into a service process by `--import` in benches, and only there: measures for how long its event loop does not
 * come round, and how much processor time its thread uses between two turns of a timer of one millisecond. The one grows
 * also when others use the processor; what blocks the loop is in the other. At each SIGUSR2 what was seen since the last one goes to a file. It imports nothing of the project, so that
 * nothing of a service is loaded before its own entry.
 */
const folder = process.env.INTERLOCK_BENCH_LOOP_DELAYS;
const [, service] = /\/services\/([^/]+)\/src\/main\.ts$/.exec(process.argv[1] ?? '') ?? [];

if (folder !== undefined && service !== undefined && isMainThread) {
  const delays = monitorEventLoopDelay({ resolution: 1 });
  delays.enable();
  let blockedUs = 0;
  const cpuUs = (): number => {
    const { user, system } = process.threadCpuUsage();
    return user + system;
  };
  let lastUs = cpuUs();
  let lastMs = performance.now();
  setInterval(() => {
    const [nowUs, nowMs] = [cpuUs(), performance.now()];
    // Some systems count the processor time of a thread in steps of 4 ms. It never used more than the time that passed.
    blockedUs = Math.max(blockedUs, Math.min(nowUs - lastUs, (nowMs - lastMs) * 1_000));
    [lastUs, lastMs] = [nowUs, nowMs];
  }, 1).unref();
  process.on('SIGUSR2', () => {
    const inMs = (nanoseconds: number): number => nanoseconds / 1e6;
    const seen = {
      p50: inMs(delays.percentile(50)),
      p99: inMs(delays.percentile(99)),
      max: inMs(delays.max),
      blocked: blockedUs / 1e3,
    };
    delays.reset();
    blockedUs = 0;
    const file = `${folder}/${service}.json`;
    writeFileSync(`${file}.new`, JSON.stringify(seen));
    renameSync(`${file}.new`, file);
  });
}
