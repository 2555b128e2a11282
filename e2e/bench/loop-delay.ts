import { existsSync, readFileSync, rmSync } from 'node:fs';
import { join } from 'node:path';
import { pathToFileURL } from 'node:url';
import type { LocalCloud } from '@interlock/local/local-cloud.ts';
import type { ServiceName } from '@interlock/local/services.ts';
import { until } from '../cloud/until.ts';

/** How an event loop fared, in milliseconds. The timer that measures it is due every millisecond, so 1 is the least. */
export interface LoopDelay {
  /** For how long it did not come round, whatever kept it: also others that use the processor. */
  readonly p50: number;
  readonly p99: number;
  readonly max: number;
  /** Most processor time its thread used before it came round: for so long it blocked itself. */
  readonly blocked: number;
}

/** Measures event loops of services from outside. @param folder a folder of this alone */
export const loopDelays = (folder: string) => {
  const preload = pathToFileURL(join(import.meta.dirname, 'loop-delay-preload.ts')).href;
  return {
    /** For the launcher. */
    settings: { NODE_OPTIONS: `--import=${preload}`, INTERLOCK_BENCH_LOOP_DELAYS: folder },
    /** What was seen since the last call, or since the start. */
    async since(cloud: Pick<LocalCloud, 'pid'>, service: ServiceName): Promise<LoopDelay> {
      const file = join(folder, `${service}.json`);
      rmSync(file, { force: true });
      process.kill(cloud.pid(service), 'SIGUSR2');
      await until(`${service} tells its delays`, async () => existsSync(file));
      return JSON.parse(readFileSync(file, 'utf8'));
    },
  };
};
