import { readConfig } from './config.ts';
import { oneOf, text } from './config-readers.ts';
import { runService } from './run.ts';

/** A service that behaves as `BEHAVIOUR` says; `run.test.ts` starts it as a process. */
await runService({
  name: 'test',
  env: { SHUTDOWN_GRACE_MS: '300', ...process.env },
  start: async ({ scope, log, env }) => {
    const { behaviour } = readConfig(env, {
      behaviour: oneOf('What to do', ['serve', 'hang on close', 'fail on close', 'fail on start', 'crash', 'throw'], {
        default: 'serve',
      }),
      needed: text('Any text'),
    });
    const alive = setInterval(() => undefined, 1_000);
    scope.defer('first', () => {
      clearInterval(alive);
      log.info('closed first');
    });
    scope.defer('second', () => {
      log.info('closed second');
      if (behaviour === 'hang on close') return new Promise(() => undefined);
      if (behaviour === 'fail on close') throw new Error('will not close');
      return undefined;
    });
    const cause = new Error('the reason');
    if (behaviour === 'fail on start') throw new Error('cannot start', { cause });
    if (behaviour === 'crash') setImmediate(() => void Promise.reject(new Error('uncaught by the service', { cause })));
    if (behaviour === 'throw') {
      setImmediate(() => {
        throw new Error('uncaught by the service', { cause });
      });
    }
    return { address: '127.0.0.1:1' };
  },
});
