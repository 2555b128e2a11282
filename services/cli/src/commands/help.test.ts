import assert from 'node:assert/strict';
import { test } from 'node:test';
import { testProgram } from '../session/test-session.ts';

/** The help of every command, by its words. */
const everyHelp = (): ReadonlyMap<string, string> => {
  const { program } = testProgram();
  const found = new Map<string, string>();
  const add = (command: typeof program, words: string): void => {
    found.set(words, command.helpInformation());
    for (const one of command.commands) add(one, `${words} ${one.name()}`.trim());
  };
  add(program, '');
  return found;
};

test('the help of every command fits 80 columns, with its usage and choices', () => {
  const helps = everyHelp();
  assert.ok(helps.size > 150, String(helps.size));
  for (const [words, text] of helps)
    for (const line of text.split('\n')) assert.ok(line.length <= 80, `${words}: ${line.length} columns: ${line}`);
});

test('the verbs of a noun come before the options that every command has', () => {
  const helps = everyHelp();
  const nouns = [...helps].filter(([, text]) => text.includes('\nCommands:\n'));
  assert.ok(nouns.length > 20, String(nouns.length));
  for (const [words, text] of nouns)
    assert.ok(text.indexOf('\nCommands:\n') < text.indexOf('\nOptions:\n'), `${words}: ${text}`);
  for (const title of ['Commands:', 'Options:']) assert.ok(helps.get('disk')?.includes(`\n\n${title}\n  `), title);
});

test('the text below the help of a command fits 80 columns', async () => {
  for (const args of [[], ['disk', 'read'], ['context', 'add'], ['impact']]) {
    const { run, lines } = testProgram();
    await assert.rejects(run(...args, '--help'));
    for (const line of lines.join('\n').split('\n')) assert.ok(line.length <= 80, `${args.join(' ')}: ${line}`);
  }
});

test('help breaks lines between words and choices, and loses nothing', async () => {
  const { program } = testProgram();
  const help = program.commands.find((one) => one.name() === 'set')?.commands.find((one) => one.name() === 'create');
  const text = help?.helpInformation() ?? '';
  assert.match(text, /^Usage: interlock set create <set> .*\|\n {2}url> \[--flags\]\n/);
  assert.match(
    text.replace(/\n +/g, ''),
    /<encryption-at-rest-with-platform-key\|encryption-at-rest-with-customer-key\|encryption-at-rest-with-platform-and-customer-keys>/,
  );
});
