import { Command, type CommanderError, Option } from 'commander';
import { addEstateCommands } from '../estate/estate-commands.ts';
import { UsageError } from '../problems.ts';
import { nouns, verbs } from '../verbs/table.ts';
import type { Verb } from '../verbs/verb.ts';
import { addAzureCommands } from './azure-commands.ts';
import { build, versionLine } from './build.ts';
import { addCompletionCommands } from './complete-command.ts';
import { addContextCommands } from './context-commands.ts';
import { addDatasetCommands } from './dataset-commands.ts';
import { addDiskDataCommands } from './disk-data-commands.ts';
import { addDiskImageCommands, addImageCommands } from './disk-image-commands.ts';
import { addEventsCommand } from './events-command.ts';
import { addExperimentCommands } from './experiment-commands.ts';
import { addFaultCommands } from './fault-commands.ts';
import { type Described, helpTexts } from './help.ts';
import { addLocalCommands } from './local-commands.ts';
import { filled } from './once.ts';
import { addPageCommand } from './page-commands.ts';
import { addProbeCommands } from './probe-commands.ts';
import { addReportCommands } from './report-commands.ts';
import { addRoleCommands } from './role-commands.ts';
import type { Runner } from './runner.ts';
import { addVerbCommand } from './verb-command.ts';

/**
 * The command line: a noun for each kind of resource, a verb for each RPC. Parsing throws a CommanderError, also after
 * help was shown (its exit code is 0 then).
 * @param args what will be parsed: commands that they do not name are not built; absent: all are
 */
export function programOf(runner: Runner, args?: readonly string[]): Command {
  const described: Described = { options: new WeakMap(), commands: new WeakMap() };
  const program = new Command('interlock')
    .description(
      'The command line of Interlock: pull the key and the machines stop; give it back and every byte is there.',
    )
    .usage('<noun> <verb> [names] [--flags]')
    .version(versionLine(build), '-V, --version', 'the version of this command line')
    .exitOverride()
    .configureOutput({ writeOut: runner.print, writeErr: runner.printUsage, outputError: () => undefined })
    .configureHelp(helpTexts(described))
    .helpCommand(false)
    .showSuggestionAfterError(true);
  for (const option of globalOptions()) program.addOption(option);
  program.addHelpText('after', footer);

  addLocalCommands(program, runner);
  addAzureCommands(program, runner);
  addContextCommands(program, runner);
  addProbeCommands(program, runner);
  addEstateCommands(program, runner);
  addFaultCommands(program, runner);
  addExperimentCommands(program, runner);
  addDatasetCommands(program, runner);
  addImageCommands(program, runner);
  addReportCommands(program, runner);
  addPageCommand(program, runner);
  addEventsCommand(program, runner);
  addCompletionCommands(program, runner, (words) => programOf(runner, words));
  for (const [noun, description] of Object.entries(nouns)) {
    const parent = program.command(noun).description(description).usage('<verb> [names] [--flags]');
    for (const verb of verbsFor(noun, args)) addVerbCommand(parent, verb, described, runner);
    if (noun === 'disk') {
      addDiskDataCommands(parent, runner);
      addDiskImageCommands(parent, runner);
    }
    if (noun === 'role') addRoleCommands(parent, runner);
  }
  for (const command of allOf(program)) command.exitOverride((error) => refuse(command, error));
  return program;
}

/**
 * The verbs of a noun that a command line may need. Building all takes 40 ms, so only named verbs are built, unless help or an
 * error lists all. A word may be a name too: one verb too many does no harm.
 */
function verbsFor(noun: string, args: readonly string[] | undefined): readonly Verb[] {
  const all = verbs.filter((verb) => verb.noun === noun && verb.isCustom !== true);
  if (args === undefined) return all;
  if (!args.includes(noun)) return [];
  const named = all.filter(({ verb, isDefault }) => isDefault === true || args.includes(verb));
  const isListed = args.includes('--help') || args.includes('-h');
  return isListed || named.length === 0 ? all : named;
}

const allOf = (command: Command): readonly Command[] => [command, ...command.commands.flatMap(allOf)];

/** Adds the usage of the command to an error of the parser. @throws UsageError; help and version as they are */
function refuse(command: Command, error: CommanderError): never {
  if (error.exitCode === 0 || error.code === 'commander.help') throw error;
  const words = [];
  for (let at: Command | null = command; at !== null; at = at.parent) words.unshift(at.name());
  const message = error.message
    .replace(/^error: /, '')
    .replace(/\n\(Did/, ' (Did')
    .replace(/\.?$/, '.');
  const usage = `${words.join(' ')} ${command.usage().replace('[options]', '[--flags]')}`.replace(
    /^(.*\S) \[--flags\](.*)$/,
    '$1$2 [--flags]',
  );
  throw new UsageError(`${message} Usage: ${usage} (--help says more)`, { cause: error });
}

/** Flags of every command, before or after it. */
function globalOptions(): readonly Option[] {
  return [
    filled(
      '-o, --format <json|yaml|table|wide>',
      'format of the response (default table, which fits 80 columns; wide shows all)',
    ),
    new Option('--json', 'the same as -o json'),
    new Option('--wide', 'the same as -o wide'),
    filled(
      '--query <JMESPath>',
      'the part of the response to show, for example vaults[].name; as JSON unless -o is given',
    ),
    filled('--timeout <duration>', 'how long to wait: 500ms, 30s, 2m (default 10s; 2m with --wait)'),
    filled('--group <group>', 'resource group of short names (INTERLOCK_GROUP)'),
    filled('--subscription <subscription>', 'subscription of short names (INTERLOCK_SUBSCRIPTION)'),
    filled('--as <principal:file>', 'calls as this principal, with the secret in the file (INTERLOCK_AS)'),
    filled('--context <name>', 'a named cloud: interlock context list (INTERLOCK_CONTEXT)'),
    filled('--kube-context <name>', 'the cloud in the cluster of this kubectl context (INTERLOCK_KUBE_CONTEXT)'),
    filled('--namespace <name>', 'namespace in the cluster (INTERLOCK_NAMESPACE; default interlock)'),
    filled('--data <folder>', "the launcher's data folder (INTERLOCK_DATA)"),
  ];
}

const footer = `
Names are short (d1, group/d1, kv1/k1, kv1/k1/version) or full.
Exit codes: 0 done, 1 refused or failed, 2 usage error (nothing was sent),
3 no response.

  interlock vault create kv1 --group g --location westeurope
  interlock key create kv1/k1 --size 3072
  interlock key disable kv1/k1
  interlock vm list --group g
  interlock trace <id>`;
