import { existsSync, readFileSync, renameSync, writeFileSync } from 'node:fs';
import { createRequire, syncBuiltinESMExports } from 'node:module';
import { isMainThread } from 'node:worker_threads';

/**
 * Loaded into a service process by `--import` only in tests and with `--test-controls`. It shifts the wall clock (`Date`) and the time since
 * boot (`os.uptime`) that the process reads, by an amount in a file. docs/chaos.md lists what it cannot shift. It imports
 * nothing of the project, so that the service loads nothing before its own entry point.
 */

/** How often the file is read, in milliseconds. */
const lookMs = 10;

const folder = process.env.INTERLOCK_TEST_CLOCKS;
const [, program] = /\/services\/([^/]+)\/src\/main\.[jt]s$/.exec(process.argv[1] ?? '') ?? [];
/** A disk host beside others has clocks of its own. */
const service = program === 'disk' && process.env.DISK_ROLE === 'host' ? process.env.REPLICA_NAME : program;

if (folder !== undefined && service !== undefined && isMainThread) {
  const shift = { wallMs: 0, bootMs: 0 };

  const RealDate = Date;
  const now = (): number => RealDate.now() + shift.wallMs;
  globalThis.Date = new Proxy(RealDate, {
    construct: (target, given, newTarget) => Reflect.construct(target, given.length === 0 ? [now()] : given, newTarget),
    apply: () => new RealDate(now()).toString(),
    get: (target, property, receiver) => (property === 'now' ? now : Reflect.get(target, property, receiver)),
  });

  const os = createRequire(import.meta.url)('node:os');
  const uptime = os.uptime.bind(os);
  os.uptime = (): number => uptime() + shift.bootMs / 1_000;
  syncBuiltinESMExports();

  const [wanted, applied] = [`${folder}/${service}.json`, `${folder}/${service}.applied`];
  let last = '';
  const look = (): void => {
    const text = existsSync(wanted) ? readFileSync(wanted, 'utf8') : '';
    if (text === last || text === '') return;
    last = text;
    const { wallMs, bootMs } = JSON.parse(text);
    Object.assign(shift, { wallMs, bootMs });
    const draft = `${applied}.${process.pid}`;
    writeFileSync(draft, text);
    renameSync(draft, applied);
  };
  look();
  setInterval(look, lookMs).unref();
}
