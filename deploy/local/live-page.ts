import type { Scope } from '@interlock/runtime';
import { commandLine } from './command-line.ts';
import type { DataFolder } from './data-folder.ts';
import { startGuarded } from './guarded-process.ts';

/** How the live page of a cloud is started. */
export interface LivePageOptions {
  readonly data: DataFolder;
  readonly env: Readonly<Record<string, string | undefined>>;
  readonly within: Scope;
  /** Called with the lines for the user. */
  readonly say: (line: string) => void;
  /** The command line; default: that of these sources. */
  readonly entry?: string;
}

/** How long the page takes to end at most, in milliseconds. */
const graceMs = 2_000;

/**
 * Starts `interlock page` for a running cloud as a process of its own, and prints its address once it has one. The cloud does not need it: if it
 * ends, that is said, and the cloud runs on. It stops with the scope.
 */
export async function startLivePage(options: LivePageOptions): Promise<void> {
  const { data, env, within, say, entry = commandLine().entry } = options;
  const log = data.path('logs', 'page.log');
  let isStopping = false;
  const page = await startGuarded({
    command: process.execPath,
    args: [entry, 'page', '--data', data.root],
    env,
    cwd: '/',
    output: log,
    onLine: (line) => {
      if (line.startsWith('http://')) say(`\nThe live page, only for this computer: ${line}`);
    },
    stopSignal: 'TERM',
    graceMs,
  });
  void page.exited.then(({ status }) => {
    if (!isStopping) say(`The live page has ended (exit status ${status}, ${log}); interlock page starts it again.`);
  });
  within.defer('live page', () => {
    isStopping = true;
    return page.stop();
  });
}
