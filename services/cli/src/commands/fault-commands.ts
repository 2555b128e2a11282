import { type ControlledPart, cloudParts } from '@interlock/local/control/cloud-control.ts';
import { Argument, type Command, InvalidArgumentError } from 'commander';
import { durationMs } from '../request/field-values.ts';
import type { GlobalFlags } from '../session/environment.ts';
import { localData } from '../session/place.ts';
import type { FaultAction } from './fault.ts';
import { filled } from './once.ts';
import type { Runner } from './runner.ts';

/** Actions of `fault`, and what each does. */
const actions = {
  kill: 'ends a part with SIGKILL; it stays away until `fault restart`, or for the time of --for',
  pause: 'stops a part with SIGSTOP: connections stay open and nothing responds',
  resume: 'lets a paused part continue',
  restart: 'starts a part again, ending it first where it runs',
} as const satisfies Readonly<Record<FaultAction, string>>;

/** Adds `fault kill`, `pause`, `resume` and `restart`: faults of the cloud that `npm run up` keeps running. */
export function addFaultCommands(program: Command, runner: Pick<Runner, 'offline'>): void {
  const fault = program
    .command('fault')
    .description('ends, pauses and restarts parts of the local cloud that `npm run up` keeps running')
    .usage('<action> <part> [--flags]');
  for (const action of ['kill', 'pause', 'resume', 'restart'] as const) {
    const command = fault
      .command(action)
      .description(actions[action])
      .addArgument(
        new Argument('<part>', 'a service (all its processes), nats, postgres, or a host: disk-host-0, vm-host-0')
          .choices(cloudParts)
          .argParser(partOf),
      );
    if (action === 'kill' || action === 'pause')
      command.addOption(
        filled(
          '--for <duration>',
          `the launcher undoes it after this time: 500ms, 20s, 2m. The command waits for that`,
        ),
      );
    command.action((part: ControlledPart) => {
      const flags: GlobalFlags & { readonly for?: string } = command.optsWithGlobals();
      return runner.offline(flags, async ({ env, terminal }) => {
        const forMs = flags.for === undefined ? undefined : durationMs(flags.for, '--for');
        const { applyFault } = await import('./fault.ts');
        const data = localData(flags, env);
        await applyFault({ action, part, forMs }, data, terminal);
      });
    });
  }
}

/**
 * The part that a name means. A disk host has the name of its process, of its resource, and a full one: `disk-host-0`, `disk-0` and
 * `diskHosts/disk-0` are the same, and so are `vm-host-0` and `vmHosts/vm-host-0`. @throws InvalidArgumentError
 */
const partOf = (given: string): ControlledPart => {
  const part = cloudParts.find((one) => one === given);
  if (part !== undefined) return part;
  const host = /^(?:disk-host-|disk-|diskHosts\/disk-)(\d+)$/.exec(given)?.[1];
  if (host !== undefined) return `disk-host-${Number(host)}`;
  const vmHost = /^(?:vmHosts\/)?vm-host-(\d+)$/.exec(given)?.[1];
  if (vmHost !== undefined) return `vm-host-${Number(vmHost)}`;
  throw new InvalidArgumentError(
    `Allowed choices are ${cloudParts.join(', ')}, disk-host-<n> for a disk host, and vm-host-<n> for a VM host.`,
  );
};
