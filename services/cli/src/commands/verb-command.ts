import { Argument, type Command, Option } from 'commander';
import { UsageError } from '../problems.ts';
import { type FieldFlag, flagsOf, isOptional } from '../request/field-flags.ts';
import { placeholderOf } from '../request/field-values.ts';
import { type Method, methodOf } from '../request/schema.ts';
import { services } from '../session/environment.ts';
import { credentialsFrom } from '../session/settings.ts';
import { takesSeveral, type Verb } from '../verbs/verb.ts';
import { confirmHelp } from './confirm.ts';
import type { Described } from './help.ts';
import { filled, once, single } from './once.ts';
import { usageOf } from './required.ts';
import { runVerb, type VerbFlags } from './run-verb.ts';
import type { Runner } from './runner.ts';

/** Adds the command of one RPC to its noun: its targets are arguments, its fields are flags. */
export function addVerbCommand(parent: Command, verb: Verb, described: Described, runner: Runner): void {
  const method = methodOf(verb.contract, verb.method);
  const command = parent.command(verb.verb, { isDefault: verb.isDefault === true });
  described.commands.set(command, verb);
  // Help of the noun alone includes that of its default verb.
  if (verb.isDefault === true) parent.addHelpText('after', () => `\n${command.helpInformation()}`);
  const isSeveral = takesSeveral(verb, method.isStream);
  addArguments(command, verb, method, isSeveral);
  const byAttribute = addFieldFlags(command, verb, method, described);
  addOtherFlags(command, verb);
  command.action(() => {
    const { offline } = verb;
    const options: Record<string, unknown> = command.opts();
    if (offline !== undefined && options[offline.flag] !== undefined)
      return runner.offline(command.optsWithGlobals(), (parts) => offline.run(options, command.args, parts));
    const typed = typedIn(command, verb, method, byAttribute, isSeveral);
    return runner.withSession(`${verb.noun} ${verb.verb}`, command.optsWithGlobals(), (session) =>
      runVerb(verb, typed, session),
    );
  });
}

function addArguments(command: Command, verb: Verb, method: Method, isSeveral: boolean): void {
  const [, , ...words] = usageOf(verb, method.request).split(' ');
  const usage = isSeveral ? words.map((word) => word.replace(/^<([^.>]+)>$/, '<$1...>')) : words;
  if (verb.service === 'any') {
    const form = (verb.asksAll ?? verb.method.startsWith('List')) ? '[service]' : '<service>';
    command.addArgument(new Argument(form, 'which service').choices(services));
    usage.unshift(form);
  }
  command.usage(usage.join(' '));
  // Optional to the parser: a body may have the fields of the targets.
  for (const { word } of verb.targets ?? []) command.argument(isSeveral ? `[${word}...]` : `[${word}]`);
}

/** @returns the flags by the names of their options */
function addFieldFlags(
  command: Command,
  verb: Verb,
  method: Method,
  described: Described,
): ReadonlyMap<string, FieldFlag> {
  const flags = flagsOf(method.request, verb);
  const aliased = new Set(flags.filter(({ isAlias }) => isAlias).map(({ field }) => field));
  const byAttribute = new Map<string, FieldFlag>();
  for (const flag of flags) {
    const [option, ...more] = optionsOf(flag);
    if (!flag.isAlias && aliased.has(flag.field)) option.hidden = true;
    byAttribute.set(option.attributeName(), flag);
    for (const one of [option, ...more]) command.addOption(one);
    described.options.set(option, flag);
  }
  return byAttribute;
}

function addOtherFlags(command: Command, verb: Verb): void {
  command.addOption(single('--body <json|@file|->', 'the whole request as JSON; flags change it'));
  if (verb.settles !== undefined) command.option('--wait', 'waits until the work is done, and fails if it fails');
  if (verb.output !== undefined)
    command.addOption(filled('--output <file>', `writes ${verb.output} to a new file that only its owner can read`));
  if (verb.fromFile !== undefined) command.addOption(filled(`--${verb.fromFile.flag} <file>`, verb.fromFile.help));
  if (verb.takesAccess !== undefined) command.option('--confirm', confirmHelp);
  for (const [name, text] of Object.entries(verb.switches ?? {})) command.option(`--${name}`, text);
  for (const [flags, text] of Object.entries(verb.offline?.flags ?? {})) command.addOption(filled(`--${flags}`, text));
  if (verb.takesKeyOwner === true) {
    command.option('--as-key-owner', 'the caller authorizes as owner of the key');
    command.addOption(single('--key-owner <principal:file>', 'this principal authorizes as owner of the key'));
  }
}

/** What was typed for the command. @throws UsageError for a missing target and contradicting flags */
function typedIn(
  command: Command,
  verb: Verb,
  method: Method,
  byAttribute: ReadonlyMap<string, FieldFlag>,
  isSeveral: boolean,
): VerbFlags {
  const options: Record<string, unknown> = command.opts();
  const [service, ...rest] = verb.service === 'any' ? command.args : [undefined, ...command.args];
  const words = (verb.targets ?? []).map((_, index) => rest[index]);
  const body = textOf(options.body);
  const switches = new Set(
    Object.keys(verb.switches ?? {}).filter((name) => options[new Option(`--${name}`).attributeName()] === true),
  );
  const [missing] = (verb.targets ?? []).filter((target, index) => words[index] === undefined && !isOptional(target));
  const isAll = verb.many?.all !== undefined && switches.has(verb.many.all.switch);
  if (missing !== undefined && body === undefined && !isAll) {
    throw new UsageError(
      `missing <${missing.word}>. Usage: interlock ${usageOf(verb, method.request)} (--help says more)`,
    );
  }
  const { fromFile } = verb;
  const file = fromFile && textOf(options[new Option(`--${fromFile.flag} <file>`).attributeName()]);
  const isOwner = options.asKeyOwner === true;
  const owner = textOf(options.keyOwner);
  if (isOwner && owner !== undefined) throw new UsageError('--key-owner and --as-key-owner exclude each other');
  return {
    words,
    more: isSeveral ? command.args.slice(words.length) : [],
    flags: [...byAttribute].flatMap(([attribute, flag]) => given(flag, options[attribute])),
    body,
    service: services.find((name) => name === service),
    wait: options.wait === true || file !== undefined,
    file,
    confirm: options.confirm === true,
    output: textOf(options.output),
    switches,
    keyOwner: isOwner ? 'caller' : owner === undefined ? undefined : credentialsFrom(owner, '--key-owner'),
  };
}

/** Flags that only programs need. */
const hiddenFlags: ReadonlySet<string> = new Set(['etag', 'page-token', 'confirm-name']);

function optionsOf(flag: FieldFlag): readonly [Option, ...Option[]] {
  if (flag.isSwitch) {
    const off = new Option(`--no-${flag.name}`);
    // Only shown if omitting the flag differs from false.
    off.hidden = !flag.field.proto.proto3Optional;
    return [new Option(`--${flag.name}`), off];
  }
  const option = new Option(`--${flag.name} <${flag.choices?.join('|') ?? placeholderOf(flag.field)}>`);
  option.hidden = hiddenFlags.has(flag.name);
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
