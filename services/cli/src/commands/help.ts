import type { DescMessage } from '@bufbuild/protobuf';
import { type Command, Help, type Option } from 'commander';
import { comments } from '../request/comments.ts';
import type { FieldFlag } from '../request/field-flags.ts';
import { leaves } from '../request/message-text.ts';
import type { Verb } from '../verbs/verb.ts';

/** The fields of options and the RPCs of commands: their comments in the contracts are the help. */
export interface Described {
  readonly options: WeakMap<Option, FieldFlag>;
  readonly commands: WeakMap<Command, Verb>;
}

/** Help whose texts are the comments of the contracts, read only when help is shown. */
export function helpTexts({ options, commands }: Described): Partial<Help> {
  const describe = (command: Command): string => {
    const verb = commands.get(command);
    if (verb === undefined) return command.description();
    const text = verb.help ?? comments.method(verb.contract, verb.method);
    if (verb.many !== undefined) {
      return `${text} Where several are named: ${comments.method(verb.contract, verb.many.method)}`;
    }
    if (verb.versionMethod === undefined) return text;
    const ofVersion = comments.method(verb.contract, verb.versionMethod);
    return `${text} Where a version is named, that one alone: ${ofVersion}`;
  };
  return {
    showGlobalOptions: true,
    helpWidth: HELP_WIDTH,
    formatHelp: (command, helper) => wrapped(commandsFirst(Help.prototype.formatHelp.call(helper, command, helper))),
    optionDescription: (option) => {
      const flag = options.get(option);
      if (flag === undefined) return option.description;
      const text = comments.field(flag.field.parent.typeName, flag.field.name);
      const inner = flag.field.message;
      const isMessage = inner !== undefined && inner.typeName !== 'google.protobuf.Timestamp';
      const words = isMessage && flag.field.fieldKind !== 'map' ? ` Fields: ${fieldWords(inner)}.` : '';
      const fresh = flag.isFresh ? ' A new one each time unless given.' : '';
      return `${text}${words}${flag.isRepeated ? ' Can be repeated.' : ''}${fresh}`;
    },
    subcommandDescription: (command) =>
      commands.has(command) ? firstSentence(describe(command)) : command.description(),
    commandDescription: describe,
  };
}

/** Characters in a line of help. */
const HELP_WIDTH = 80;

/** Puts the list of commands before the options: the verbs of a noun are what a reader looks for. */
function commandsFirst(text: string): string {
  const sections = text.split(/^(?=\S.*:$)/m);
  const commands = sections.filter((section) => section.startsWith('Commands:'));
  const others = sections.filter((section) => !commands.includes(section));
  return others.toSpliced(1, 0, ...commands.map((section) => `${section.trimEnd()}\n\n`)).join('');
}

/** Breaks lines that are too long, a usage for example, at spaces or between choices; what follows is indented. */
function wrapped(text: string): string {
  return text.split('\n').flatMap(wrappedLine).join('\n');
}

function wrappedLine(line: string): readonly string[] {
  if (line.length <= HELP_WIDTH) return [line];
  const words = line.split(/(?<=[|\s])/);
  const longest = Math.max(...words.map(({ length }) => length));
  // Indented to where the text of a flag begins, if the longest word fits there.
  const column = (/^ *\S+(?: \S+)* {2,}|^ */.exec(line)?.[0] ?? '').length || 2;
  const indent = ' '.repeat(Math.max(2, Math.min(column, 30, HELP_WIDTH - longest)));
  const lines = [''];
  for (const word of words) {
    const last = lines.length - 1;
    const longer = `${lines[last]}${word}`;
    if (longer.trimEnd().length <= HELP_WIDTH) lines[last] = longer;
    else lines.push(`${indent}${word.trimStart()}`);
  }
  return lines.map((one) => one.trimEnd()).filter((one) => one !== '');
}

function firstSentence(text: string): string {
  return /^.*?[.:;](?=\s|$)/.exec(text)?.[0].replace(/[.:;]$/, '') ?? text;
}

const fieldWords = (message: DescMessage): string =>
  leaves(message)
    .map((path) => path.at(-1)?.name.replaceAll('_', '-'))
    .join(', ');
