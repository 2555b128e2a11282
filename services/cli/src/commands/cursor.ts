import type { Command, Option } from 'commander';
import { flagsOf } from '../request/field-flags.ts';
import { nameKindOf } from '../request/field-values.ts';
import type { NameKind } from '../request/names.ts';
import { methodOf } from '../request/schema.ts';
import type { GlobalFlags } from '../session/environment.ts';
import { verbs } from '../verbs/table.ts';
import { type Target, takesSeveral, type Verb } from '../verbs/verb.ts';

/** Where the cursor is in a command line that is being typed. */
export interface Cursor {
  /** The command that the words before it are. */
  readonly command: Command;
  /** Flags of that command and of those above it. */
  readonly options: readonly Option[];
  /** The flags with a value before it. */
  readonly flags: GlobalFlags;
  /** How many words before it are neither commands nor flags. */
  readonly wordCount: number;
  /** The flag before it that wants a value. */
  readonly wanting: Option | undefined;
  /** The word that is being typed. */
  readonly word: string;
}

/** @param program with the commands that the words may name @param words up to the cursor; the last may be empty */
export function cursorAt(program: Command, words: readonly string[]): Cursor {
  const flags: Record<string, string> = {};
  let command = program;
  let options: readonly Option[] = program.options;
  let wordCount = 0;
  let wanting: Option | undefined;
  for (const word of words.slice(0, -1)) {
    if (wanting !== undefined) {
      flags[wanting.attributeName()] = word;
      wanting = undefined;
    } else if (word.startsWith('-')) {
      const [flag, value] = word.split('=', 2);
      const option = options.find(({ long, short }) => long === flag || short === flag);
      if (option?.required && value === undefined) wanting = option;
      else if (option?.required && value !== undefined) flags[option.attributeName()] = value;
    } else {
      const below = wordCount === 0 ? command.commands.find((one) => one.name() === word) : undefined;
      if (below === undefined) wordCount += 1;
      else [command, options] = [below, [...options, ...below.options]];
    }
  }
  return { command, options, flags, wordCount, wanting, word: words.at(-1) ?? '' };
}

/** Commands, flags or choices that may be there; undefined where any value may be. */
export function wordsAt({ command, options, wordCount, wanting, word }: Cursor): readonly string[] | undefined {
  if (wanting !== undefined) return choicesOf(wanting);
  if (word.startsWith('-')) {
    const shown = options.filter(({ hidden }) => !hidden);
    return [...shown.flatMap(({ long, short }) => [long, short].filter((flag) => typeof flag === 'string')), '--help'];
  }
  const argument = command.registeredArguments[wordCount];
  if (argument?.argChoices !== undefined) return argument.argChoices;
  const below = wordCount === 0 ? command.createHelp().visibleCommands(command) : [];
  return below.length > 0 ? below.map((one) => one.name()) : undefined;
}

const choicesOf = ({ flags }: Option): readonly string[] | undefined =>
  /<([\w-]+(?:\|[\w-]+)+)>/.exec(flags)?.[1]?.split('|');

/** The kinds of names that may be there. */
export function kindsAt(cursor: Cursor): readonly NameKind[] {
  const verb = verbAt(cursor);
  if (verb === undefined) return [];
  const method = methodOf(verb.contract, verb.method);
  if (cursor.wanting !== undefined) {
    const { long } = cursor.wanting;
    const flag = flagsOf(method.request, verb).find(({ name }) => `--${name}` === long);
    const kind = flag && nameKindOf(flag.field, verb.kinds ?? {});
    return kind === undefined ? [] : [kind];
  }
  const { targets = [], service } = verb;
  const at = cursor.wordCount - (service === 'any' ? 1 : 0);
  const target = targets[at] ?? (takesSeveral(verb, method.isStream) ? targets.at(-1) : undefined);
  return target === undefined ? [] : kindsOf(target);
}

const kindsOf = (target: Target): readonly NameKind[] => {
  if ('oneOf' in target) return target.oneOf.map(({ kind }) => kind);
  // A new resource has a name that is not there yet.
  return 'kind' in target && 'field' in target ? [target.kind] : [];
};

/** The verb of the command; of a noun alone, its default one. */
const verbAt = ({ command }: Cursor): Verb | undefined =>
  verbs.find(({ noun, verb, isDefault }) =>
    command.commands.length > 0
      ? noun === command.name() && isDefault === true
      : noun === command.parent?.name() && verb === command.name(),
  );
