import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { LauncherError } from './data-folder.ts';

const managers: readonly { readonly name: string; readonly needsRoot: boolean; readonly steps: readonly string[][] }[] =
  [
    {
      name: 'apt-get',
      needsRoot: true,
      steps: [['update'], ['install', '-y', '--no-install-recommends', 'nats-server']],
    },
    { name: 'dnf', needsRoot: true, steps: [['install', '-y', 'nats-server']] },
    { name: 'apk', needsRoot: true, steps: [['add', 'nats-server']] },
    { name: 'brew', needsRoot: false, steps: [['install', 'nats-server']] },
  ];

const byHand =
  'Get nats-server 2.10 or newer (https://github.com/nats-io/nats-server/releases, one file), put it on the PATH, or set NATS_URL to a server with JetStream.';

/**
 * The commands that would install `nats-server` here, in order; undefined when there is no way without a password.
 * @param sudoWorks whether `sudo -n` is allowed
 */
export function installCommands(
  path: string,
  isRoot: boolean,
  sudoWorks: () => boolean,
): readonly (readonly string[])[] | undefined {
  const has = (name: string) => path.split(delimiter).some((folder) => folder !== '' && existsSync(join(folder, name)));
  const manager = managers.find(({ name }) => has(name));
  if (manager === undefined) return undefined;
  const prefix = !manager.needsRoot || isRoot ? [] : has('sudo') && sudoWorks() ? ['sudo', '-n'] : undefined;
  return prefix && manager.steps.map((step) => [...prefix, manager.name, ...step]);
}

/**
 * Installs `nats-server` with the package manager of the system, printing each command before it runs.
 * @throws LauncherError when that is not possible; says how to get it by hand.
 */
export async function installNats(
  env: Readonly<Record<string, string | undefined>>,
  say: (line: string) => void,
): Promise<void> {
  const path = env.PATH ?? '';
  const sudoWorks = () => spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' }).status === 0;
  const commands = installCommands(path, process.getuid?.() === 0, sudoWorks);
  if (commands === undefined) throw new LauncherError(`nats-server is not installed. ${byHand}`);
  for (const command of commands) {
    say(`nats-server is missing, running: ${command.join(' ')}`);
    const status = await run(command, { ...env, DEBIAN_FRONTEND: 'noninteractive' });
    if (status !== 0) throw new LauncherError(`"${command.join(' ')}" ended with status ${status}. ${byHand}`);
  }
}

function run(
  [command = '', ...args]: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  return new Promise((resolve, reject) => {
    // Its output goes to standard error: standard output belongs to what the launcher has to say.
    const child = spawn(command, args, { env, stdio: ['ignore', 2, 2] });
    child.once('error', reject);
    child.once('close', (status) => resolve(status ?? 1));
  });
}
