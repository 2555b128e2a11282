import type { Command } from 'commander';
import type { GlobalFlags } from '../session/environment.ts';
import { single } from './once.ts';

/** Flags of `up`; the launcher (deploy/local/up.ts) checks them. */
export interface UpFlags {
  readonly replicas?: string;
  readonly diskHosts?: string;
  readonly vmHosts?: string;
  readonly restartAfter?: string;
  readonly azure?: boolean;
  readonly loopbackAdmin?: boolean;
  readonly testControls?: boolean;
  /** False with `--no-page`. */
  readonly page?: boolean;
}

/** The flags of `up` as arguments of the launcher. */
export const upArguments = (flags: UpFlags): readonly string[] => [
  ...(flags.replicas === undefined ? [] : ['--replicas', flags.replicas]),
  ...(flags.diskHosts === undefined ? [] : ['--disk-hosts', flags.diskHosts]),
  ...(flags.vmHosts === undefined ? [] : ['--vm-hosts', flags.vmHosts]),
  ...(flags.restartAfter === undefined ? [] : ['--restart-after', flags.restartAfter]),
  ...(flags.azure === true ? ['--azure'] : []),
  ...(flags.loopbackAdmin === true ? ['--loopback-admin'] : []),
  ...(flags.testControls === true ? ['--test-controls'] : []),
  ...(flags.page === false ? ['--no-page'] : []),
];

/** The commands about the cloud itself. */
export interface LocalCommands {
  /** Runs the cloud in the foreground. */
  up(flags: GlobalFlags & UpFlags): Promise<void>;
  /** Stops the running cloud. */
  down(flags: GlobalFlags): Promise<void>;
  /** Rehearses on a separate cloud, or as a Job of a cluster. */
  rehearse(flags: GlobalFlags & { readonly kubernetes?: boolean; readonly image?: string }): Promise<void>;
  /** Runs a script of the clone, by its path from the root; its exit code is that of the command. */
  inClone(script: string, args: readonly string[], flags: GlobalFlags): Promise<void>;
  status(flags: GlobalFlags): Promise<void>;
  trace(id: string, flags: GlobalFlags): Promise<void>;
}

/** Adds `up`, `down`, `status`, `rehearse` and `trace`. */
export function addLocalCommands(program: Command, runner: LocalCommands): void {
  const up = program
    .command('up')
    .description('runs a local cloud until Ctrl-C')
    .addOption(single('--replicas <n>', 'processes of each service, 1 to 7 (default 1)'))
    .addOption(single('--disk-hosts <n>', 'disk hosts as processes of their own, 1 to 7'))
    .addOption(single('--vm-hosts <n>', 'VM hosts as processes of their own, 1 to 7'))
    .addOption(
      single(
        '--restart-after <duration>',
        'how long a killed service stays away: 500ms, 30s, 2m (default 1s); never: for good',
      ),
    )
    .option('--azure', "also starts the gateway for the public cloud's clients, and prints the lines to paste")
    .option('--loopback-admin', 'its managed identity endpoint gives every local process tokens of the administrator')
    .option('--test-controls', 'administrators may move clocks, inflict faults, and export and import estates')
    .option('--no-page', 'does not serve the live page');
  up.action(() => runner.up(up.optsWithGlobals()));
  const down = program.command('down').description('stops the local cloud; its data stays');
  down.action(() => runner.down(down.optsWithGlobals()));
  const status = program.command('status').description('shows the state of every service');
  status.action(() => runner.status(status.optsWithGlobals()));
  const rehearse = program
    .command('rehearse')
    .description('rehearses the loss and return of a key on a separate cloud')
    .option('--kubernetes', 'as a Job in a cluster, on its cloud; copies the report here')
    .addOption(
      single('--image <reference>', 'with --kubernetes: the tools image; by default that of the release of identity'),
    );
  rehearse.action(() => runner.rehearse(rehearse.optsWithGlobals()));
  const trace = program.command('trace').description('shows the spans of a request in every service');
  trace.argument('<id>', '32 hexadecimal digits, as errors and logs give it; or `list`: the newest traces');
  trace.action((id: string) => runner.trace(id, trace.optsWithGlobals()));
}
