import type { Command } from 'commander';
import type { GlobalFlags } from '../session/environment.ts';
import { single } from './once.ts';

/** The commands about the cloud itself. */
export interface LocalCommands {
  /** Runs the cloud in the foreground. */
  up(flags: GlobalFlags & { readonly replicas?: string; readonly restartAfter?: string }): Promise<void>;
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
    .addOption(single('--replicas <n>', 'processes of each service; one process of disk works, the others stand by'))
    .addOption(
      single(
        '--restart-after <duration>',
        'how long a killed service stays away: 500ms, 30s, 2m (default 1s); never: for good',
      ),
    );
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
