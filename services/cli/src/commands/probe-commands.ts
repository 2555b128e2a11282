import type { Command } from 'commander';
import { UsageError } from '../problems.ts';
import { durationMs } from '../request/field-values.ts';
import type { Runner } from './runner.ts';

/** Adds `probe services`, `probe leases`, `probe running` and `probe stopped`: steady states for experiments. */
export function addProbeCommands(program: Command, runner: Pick<Runner, 'probe'>): void {
  const probe = program
    .command('probe')
    .description('says whether a steady state holds: ends with 0 or 1, for experiments and monitors')
    .usage('<state> [--flags]');

  const services = probe
    .command('services')
    .description(
      'every service answers with every process it had, tells its facts and is not behind; Postgres and NATS are there',
    );
  services.option('--gap <n>', 'how many facts a service may be behind', '0');
  services.action(() =>
    runner.probe('probe services', services.optsWithGlobals(), async (session) => {
      const { probeServices, showFindings } = await import('./probe.ts');
      return showFindings(session, await probeServices(session, count(services.opts().gap)));
    }),
  );

  const leases = probe.command('leases').description('no lease waits for a vault, and each was renewed lately');
  leases.option('--max-age <duration>', 'how old the newest yes of a lease may be', '60s');
  leases.action(() =>
    runner.probe('probe leases', leases.optsWithGlobals(), async (session) => {
      const { probeLeases, showFindings } = await import('./probe.ts');
      return showFindings(session, await probeLeases(session, durationMs(String(leases.opts().maxAge), '--max-age')));
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
