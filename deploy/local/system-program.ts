import { spawn, spawnSync } from 'node:child_process';
import { existsSync } from 'node:fs';
import { delimiter, join } from 'node:path';
import { LauncherError } from './data-folder.ts';

/** A program of the system's package manager. */
export interface SystemProgram {
  /** As it is called. */
  readonly name: string;
  /** The package that has it, by package manager. */
  readonly packages: Readonly<Record<'apt-get' | 'dnf' | 'apk' | 'brew', string>>;
  /** What to do if it cannot be installed. */
  readonly byHand: string;
}

const managers: readonly {
  readonly name: keyof SystemProgram['packages'];
  readonly needsRoot: boolean;
  readonly steps: (name: string) => readonly string[][];
}[] = [
  {
    name: 'apt-get',
    needsRoot: true,
    steps: (name) => [['update'], ['install', '-y', '--no-install-recommends', name]],
  },
  { name: 'dnf', needsRoot: true, steps: (name) => [['install', '-y', name]] },
  { name: 'apk', needsRoot: true, steps: (name) => [['add', name]] },
  { name: 'brew', needsRoot: false, steps: (name) => [['install', name]] },
];

/**
 * The commands that would install a program here, in order; undefined if every way needs a password.
 * @param sudoWorks whether `sudo -n` is allowed
 */
export function installCommands(
  { packages }: Pick<SystemProgram, 'packages'>,
  path: string,
  isRoot: boolean,
  sudoWorks: () => boolean,
): readonly (readonly string[])[] | undefined {
  const has = (name: string) => path.split(delimiter).some((folder) => folder !== '' && existsSync(join(folder, name)));
  const manager = managers.find(({ name }) => has(name));
  if (manager === undefined) return undefined;
  const prefix = !manager.needsRoot || isRoot ? [] : has('sudo') && sudoWorks() ? ['sudo', '-n'] : undefined;
  return prefix && manager.steps(packages[manager.name]).map((step) => [...prefix, manager.name, ...step]);
}

/**
 * Installs a program with the package manager of the system, and prints each command before it runs.
 * @throws LauncherError if that is not possible; says how to install it manually
 */
export async function installProgram(
  program: SystemProgram,
  env: Readonly<Record<string, string | undefined>>,
  say: (line: string) => void,
): Promise<void> {
  const { name, byHand } = program;
  const path = env.PATH ?? '';
  const sudoWorks = () => spawnSync('sudo', ['-n', 'true'], { stdio: 'ignore' }).status === 0;
  const commands = installCommands(program, path, process.getuid?.() === 0, sudoWorks);
  if (commands === undefined) throw new LauncherError(`${name} is not installed. ${byHand}`);
  for (const command of commands) {
    say(`${name} is missing, running: ${command.join(' ')}`);
    const status = await run(command, { ...env, DEBIAN_FRONTEND: 'noninteractive' });
    if (status !== 0) throw new LauncherError(`"${command.join(' ')}" ended with status ${status}. ${byHand}`);
  }
}

function run(
  [command = '', ...args]: readonly string[],
  env: Readonly<Record<string, string | undefined>>,
): Promise<number> {
  return new Promise((resolve, reject) => {
    // Its output goes to standard error, because standard output is for the launcher's own output.
    const child = spawn(command, args, { env, stdio: ['ignore', 2, 2] });
    child.once('error', reject);
    child.once('close', (status) => resolve(status ?? 1));
  });
}
