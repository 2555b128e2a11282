import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testProgram } from '../../services/cli/src/session/test-session.ts';
import { filesLike, textOf } from './sources.ts';

/** Pages that readers copy commands from. */
const pages = filesLike(
  /^(README\.md|CONTRIBUTING\.md|SECURITY\.md|docs\/.*\.md|(deploy|services)\/[a-z-]+\/README\.md)$/,
);
const scripts: Readonly<Record<string, string>> = JSON.parse(textOf('package.json')).scripts;
const { program } = testProgram();

/** The commands in a text, up to the end of the line or of their code span, without comments and pipes. */
const commandsIn = (text: string): readonly string[] =>
  [...text.replaceAll(/<[^>\n]*>/g, '…').matchAll(/(?:^|npx |`)interlock ([a-z-][^`\n|>#;&]*)/gm)].map(
    ([, words = '']) => words.split(/ {2,}/)[0] ?? '',
  );

const flagsOf = (command: typeof program): readonly string[] =>
  command.options.flatMap(({ long, short }) => [long ?? '', short ?? '']);

/** The words of a command that the command line does not know. */
const unknownIn = (words: string): readonly string[] => {
  const parts = words.trim().split(/\s+/);
  const noun = program.commands.find((command) => parts.includes(command.name()));
  const next = noun === undefined ? undefined : parts[parts.indexOf(noun.name()) + 1];
  // A noun may have a default verb, which commander does not expose.
  const unwritten: unknown = noun && Reflect.get(noun, '_defaultCommandName');
  const verbs = noun?.commands ?? [];
  const verb = verbs.find((one) => one.name() === next) ?? verbs.find((one) => one.name() === unwritten);
  const isWhole =
    noun !== undefined && (verb !== undefined || noun.registeredArguments.length > 0 || next === undefined);
  const known = new Set([program, noun, verb].flatMap((command) => (command ? flagsOf(command) : [])));
  const flags = parts.flatMap((part) => /^--?[a-z][a-z-]*/.exec(part) ?? []);
  const unknown = flags.filter((flag) => !known.has(flag) && !['--help', '--version'].includes(flag));
  const isFlagsOnly = parts.every((part) => /^[-<[]/.test(part) || part === '…');
  return isWhole || isFlagsOnly || noun?.commands.length === 0 ? unknown : [...unknown, next ?? parts[0] ?? ''];
};

test('the command line knows every command and flag that a page shows', () => {
  const flaws = pages.flatMap((page) =>
    commandsIn(textOf(page)).flatMap((words) =>
      unknownIn(words).map((word) => `${page}: ${word} in: interlock ${words}`),
    ),
  );
  assert.deepEqual(flaws, []);
});

test('package.json has every script that a page runs', () => {
  const missing = pages.flatMap((page) =>
    [...textOf(page).matchAll(/npm run ([a-z:]+)/g)].flatMap(([, script = '']) =>
      scripts[script] ? [] : [`${page}: ${script}`],
    ),
  );
  assert.deepEqual(missing, []);
});
