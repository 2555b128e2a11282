import type { Command } from 'commander';
import type { GlobalFlags } from '../session/environment.ts';
import { localData } from '../session/place.ts';
import type { Runner } from './runner.ts';

/** Adds `azure env`: what scripts need to use a local cloud with the public cloud's clients. */
export function addAzureCommands(program: Command, runner: Pick<Runner, 'offline'>): void {
  const azure = program
    .command('azure')
    .description("the gateway for the public cloud's clients, which `npm run up -- --azure` starts")
    .usage('<verb> [--flags]');
  const env = azure
    .command('env')
    .description(
      'prints export lines for a shell, with the secret of the administrator: eval "$(interlock azure env)"; a JSON object with -o json',
    );
  env.action(() => {
    const flags: GlobalFlags = env.optsWithGlobals();
    return runner.offline(flags, async ({ env: environment, terminal, output }) => {
      const { azureEnvironment, exportLines } = await import('./azure.ts');
      const variables = azureEnvironment(localData(flags, environment));
      if (output.isDocument) output.write(variables);
      else terminal.out(exportLines(variables));
    });
  });
}
