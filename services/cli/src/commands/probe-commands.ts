import type { Command } from 'commander';
import { UsageError } from '../problems.ts';
import { durationMs } from '../request/field-values.ts';
import type { Runner } from './runner.ts';

/** Adds `probe services`, `probe leases`, `probe disk-hosts`, `probe running` and `probe stopped`: steady states for experiments. */
export function addProbeCommands(program: Command, runner: Pick<Runner, 'probe'>): void {
  const probe = program
    .command('probe')
    .description('checks a steady state: ends with 0 or 1, for experiments and monitors')
    .usage('<state> [--flags]');

  const services = probe
    .command('services')
    .description(
      'every service responds with every process, publishes its facts and has no lag; Postgres and NATS serve',
    );
  services.option('--gap <n>', 'allowed lag of a service, in facts', '0');
  services.action(() =>
    runner.probe('probe services', services.optsWithGlobals(), async (session) => {
      const { probeServices, showFindings } = await import('./probe.ts');
      return showFindings(session, await probeServices(session, count(services.opts().gap)));
    }),
  );

  const leases = probe.command('leases').description('no lease is paused, and each was renewed recently');
  leases.option('--max-age <duration>', 'allowed age of the last renewal of a lease', '60s');
  leases.action(() =>
    runner.probe('probe leases', leases.optsWithGlobals(), async (session) => {
      const { probeLeases, showFindings } = await import('./probe.ts');
      return showFindings(session, await probeLeases(session, durationMs(String(leases.opts().maxAge), '--max-age')));
    }),
  );

  const hosts = probe
    .command('disk-hosts')
    .description('these disk hosts, or all, respond and take new disks')
    .argument('[disk-host...]');
  hosts.action((names: readonly string[]) =>
    runner.probe('probe disk-hosts', hosts.optsWithGlobals(), async (session) => {
      const { probeDiskHosts, showFindings } = await import('./probe.ts');
      return showFindings(session, await probeDiskHosts(session, names));
    }),
  );

  for (const power of ['RUNNING', 'STOPPED'] as const) {
    const word = power.toLowerCase();
    const machines = probe.command(word).description(`these machines are ${power}`).argument('<vm...>');
    machines.action((names: readonly string[]) =>
      runner.probe(`probe ${word}`, machines.optsWithGlobals(), async (session) => {
        const { probePower, showFindings } = await import('./probe.ts');
        return showFindings(session, await probePower(session, power, names));
      }),
    );
  }
}

function count(text: unknown): number {
  if (typeof text === 'string' && /^\d{1,9}$/.test(text)) return Number(text);
  throw new UsageError(`--gap must be a number of facts, 0 or more, not "${String(text)}"`);
}
