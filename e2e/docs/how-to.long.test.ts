import assert from 'node:assert/strict';
import { join } from 'node:path';
import { after, before, describe, test } from 'node:test';
import { run } from '../../services/cli/src/commands/run.ts';
import { openTerminal } from '../../services/cli/src/output/terminal.ts';
import { type TestCloud, testCloud, withTelemetry } from '../cloud/test-cloud.ts';
import { commandsOf, type PageCommand } from './how-to.ts';

// Every command of five pages on a cloud of its own. In `npm test`, commands.test.ts checks each command and option of all pages.

/** The order matters: the first steps create what the others use, and every other page restores it. */
const pages = [
  'docs/first-steps.md',
  'docs/how-to/revoke-and-give-back.md',
  'docs/how-to/rotate-a-key.md',
  'docs/how-to/restart-by-themselves.md',
  'docs/how-to/use-a-key-in-another-vault.md',
];

/** Reads may need a moment until another service has applied a fact. */
const looks = new Set(['list', 'show', 'resources', 'activity-log', 'impact']);
const patienceMs = 90_000;

/** The command that each page needs first: the end of the first steps stops this machine. */
const running: PageCommand = { page: '', args: ['vm', 'start', 'vm1', '--wait'], isRefused: false, words: [] };

let world: TestCloud;
before(async () => {
  world = await testCloud(withTelemetry);
});
after(() => world?.stop());

const { newFile } = openTerminal();

/** Names of secret files, as paths in the folder of the cloud, where the reader works. */
const inFolder = (word: string): string => word.replace(/[a-z]+\.secret$/, (file) => join(world.folder, file));

const play = async (command: PageCommand): Promise<{ readonly exitCode: number; readonly output: string }> => {
  const args = command.args.map(inFolder);
  const lines: string[] = [];
  const say = (text: string): void => void lines.push(text);
  const unused = (): never => assert.fail('these commands read and write no data');
  const terminal = {
    out: say,
    err: say,
    screen: unused,
    outBytes: unused,
    in: unused,
    readFile: unused,
    writeFile: unused,
    newFile,
  };
  const exitCode = await run(args, { INTERLOCK_DATA: world.folder, INTERLOCK_GROUP: 'demo' }, terminal);
  return { exitCode, output: lines.join('\n') };
};

/** How the result of a command differs from its page, or undefined if it does not. */
const flaw = (command: PageCommand, { exitCode, output }: Awaited<ReturnType<typeof play>>): string | undefined => {
  if (exitCode !== (command.isRefused ? 1 : 0)) return `ended with ${exitCode}`;
  const missing = command.words.filter((word) => !output.includes(word));
  return missing.length === 0 ? undefined : `does not say ${missing.join(', ')}`;
};

describe('commands on the pages have the results that the pages show', () => {
  for (const page of pages) {
    test(page, async () => {
      const commands = commandsOf(page);
      assert.ok(commands.length > 5, 'the commands are found');
      if (page !== pages[0]) await play(running);
      for (const command of commands) {
        const endMs = performance.now() + patienceMs;
        const mayWait = command.args.some((word) => looks.has(word));
        for (;;) {
          const went = await play(command);
          const problem = flaw(command, went);
          if (problem === undefined) break;
          const typed = `npx interlock ${command.args.join(' ')}`;
          assert.ok(mayWait && performance.now() < endMs, `${page}: ${typed}: ${problem}\n${went.output}`);
        }
      }
    });
  }
});
