import { Argument, type Command, Option } from 'commander';
import { UsageError } from '../problems.ts';
import { type FieldFlag, flagsOf, isOptional } from '../request/field-flags.ts';
import { placeholderOf } from '../request/field-values.ts';
import { methodOf } from '../request/schema.ts';
import { services } from '../session/environment.ts';
import { credentialsFrom } from '../session/settings.ts';
import { takesSeveral, type Verb } from '../verbs/verb.ts';
import type { Described } from './help.ts';
import { filled, once, single } from './once.ts';
import { usageOf } from './required.ts';
import { runVerb } from './run-verb.ts';
import type { Runner } from './runner.ts';

/** Adds the command of one RPC to its noun: its targets as words, its fields as flags. */
export function addVerbCommand(parent: Command, verb: Verb, described: Described, runner: Runner): void {
  const method = methodOf(verb.contract, verb.method);
  const asksAll = verb.asksAll ?? verb.method.startsWith('List');
  const command = parent.command(verb.verb, { isDefault: verb.isDefault === true });
  described.commands.set(command, verb);
  // Whoever asks for help with the noun alone is told about the verb that is meant then.
  if (verb.isDefault === true) parent.addHelpText('after', () => `\n${command.helpInformation()}`);
  const serviceForm = asksAll ? '[service]' : '<service>';
  const [, , ...usage] = usageOf(verb, method.request).split(' ');
  const isSeveral = takesSeveral(verb, method.isStream);
  const shown = isSeveral ? usage.map((word) => word.replace(/^<([^.>]+)>$/, '<$1...>')) : usage;
  command.usage([...(verb.service === 'any' ? [serviceForm] : []), ...shown].join(' '));
  if (verb.service === 'any') command.addArgument(new Argument(serviceForm, 'which service').choices(services));
  // A body may hold what a target would; the service says what is missing.
  for (const { word } of verb.targets ?? []) command.argument(isSeveral ? `[${word}...]` : `[${word}]`);

  const flags = flagsOf(method.request, verb);
  const shadowed = new Set(flags.filter(({ isAlias }) => isAlias).map(({ field }) => field));
  const byAttribute = new Map<string, FieldFlag>();
  for (const flag of flags) {
    const [option, ...more] = optionsOf(flag);
    if (!flag.isAlias && shadowed.has(flag.field)) option.hidden = true;
    byAttribute.set(option.attributeName(), flag);
    for (const one of [option, ...more]) command.addOption(one);
    described.options.set(option, flag);
  }
  command.addOption(single('--body <json|@file|->', 'the whole request as JSON; flags come on top'));
  if (verb.settles !== undefined) command.option('--wait', 'waits until the work is done, and fails when it fails');
  if (verb.output !== undefined)
    command.addOption(filled('--output <file>', `writes ${verb.output} to a new file only its owner can read`));
  for (const [name, says] of Object.entries(verb.switches ?? {})) command.option(`--${name}`, says);
  if (verb.takesKeyOwner === true) {
    command.option('--as-key-owner', "the caller gives the key owner's word itself");
    command.addOption(single('--key-owner <principal:file>', "this principal gives the key owner's word"));
  }

  command.action(() => {
    const options: Record<string, unknown> = command.opts();
    const [first, ...rest] = verb.service === 'any' ? command.args : [undefined, ...command.args];
    const words = (verb.targets ?? []).map((_, index) => rest[index]);
    const body = textOf(options.body);
    const [missing] = (verb.targets ?? []).filter((target, index) => words[index] === undefined && !isOptional(target));
    const switches = new Set(
      Object.keys(verb.switches ?? {}).filter((name) => options[new Option(`--${name}`).attributeName()] === true),
    );
    const isAll = verb.many?.all !== undefined && switches.has(verb.many.all.switch);
    if (missing !== undefined && body === undefined && !isAll) {
      throw new UsageError(
        `missing <${missing.word}>. Usage: interlock ${usageOf(verb, method.request)} (--help says more)`,
      );
    }
    const isOwner = options.asKeyOwner === true;
    if (isOwner && options.keyOwner !== undefined)
      throw new UsageError('--key-owner and --as-key-owner exclude each other');
    const other = textOf(options.keyOwner);
    const typed = {
      words,
      more: isSeveral ? command.args.slice(words.length) : [],
      flags: [...byAttribute].flatMap(([attribute, flag]) => given(flag, options[attribute])),
      body,
      service: services.find((service) => service === first),
      wait: options.wait === true,
      output: textOf(options.output),
      switches,
      keyOwner: isOwner ? ('caller' as const) : other === undefined ? undefined : credentialsFrom(other, '--key-owner'),
    };
    return runner.withSession(`${verb.noun} ${verb.verb}`, command.optsWithGlobals(), (session) =>
      runVerb(verb, typed, session),
    );
  });
}

function optionsOf(flag: FieldFlag): readonly [Option, ...Option[]] {
  if (flag.isSwitch) {
    const off = new Option(`--no-${flag.name}`);
    // Only where not saying it is not the same as no.
    off.hidden = !flag.field.proto.proto3Optional;
    return [new Option(`--${flag.name}`), off];
  }
  const option = new Option(`--${flag.name} <${flag.choices?.join('|') ?? placeholderOf(flag.field)}>`);
  option.hidden = flag.name === 'etag' || flag.name === 'page-token';
  if (flag.isRepeated) option.argParser((text: string, before: readonly string[] = []) => [...before, text]);
  else option.argParser(once(option));
  return [option];
}

function given(flag: FieldFlag, value: unknown): readonly (readonly [FieldFlag, readonly string[]])[] {
  if (value === undefined) return [];
  const texts = Array.isArray(value) ? value : [value];
  return [[flag, texts.map(String)]];
}

const textOf = (value: unknown): string | undefined => (typeof value === 'string' ? value : undefined);
