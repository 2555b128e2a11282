import { systemClock } from '@interlock/runtime';
import { Argument, type Command } from 'commander';
import type { GlobalFlags } from '../session/environment.ts';
import { placeOf } from '../session/place.ts';
import { anyFile, completeCommand, completionScript, type Shell, shells } from './completion.ts';
import { type Cursor, cursorAt, kindsAt, wordsAt } from './cursor.ts';
import type { Runner } from './runner.ts';

/** How long the names of a cloud may take, in milliseconds: the user of a shell waits meanwhile. */
const namesMs = 1_000;

const help = `
  bash  eval "$(interlock completion bash)"    in ~/.bashrc
  zsh   eval "$(interlock completion zsh)"     in ~/.zshrc, after compinit
  fish  interlock completion fish | source     in ~/.config/fish/config.fish`;

/** Adds `completion`, and the hidden command that its scripts call. @param whole makes a program with the commands that words may name */
export function addCompletionCommands(
  program: Command,
  runner: Runner,
  whole: (words: readonly string[]) => Command,
): void {
  const completion = program
    .command('completion')
    .description('prints the completion script of a shell')
    .addArgument(new Argument('<shell>', 'the shell').choices(shells))
    .addHelpText('after', help);
  completion.action((shell: Shell) =>
    runner.offline(completion.optsWithGlobals(), async ({ terminal }) =>
      terminal.out(completionScript(shell).trimEnd()),
    ),
  );
  const complete = program.command(completeCommand, { hidden: true }).argument('[words...]');
  complete.action((words: readonly string[]) => {
    const cursor = cursorAt(whole(words), words);
    return runner.offline(complete.optsWithGlobals(), async ({ env, terminal }) => {
      const offered = wordsAt(cursor);
      const names = await namesAt(cursor, env, runner);
      const lines = [...(offered ?? []), ...names].filter((one) => one.startsWith(cursor.word));
      const isFile = offered === undefined && cursor.wanting !== undefined && kindsAt(cursor).length === 0;
      if (isFile) terminal.out(anyFile);
      else if (lines.length > 0) terminal.out(lines.join('\n'));
    });
  });
}

/**
 * Names of the cloud that the flags before the cursor choose. None if it does not respond in time or refuses: a shell shows no error.
 * A cloud in a cluster is not asked, because a way to it takes seconds to open.
 */
async function namesAt(
  cursor: Cursor,
  env: Parameters<typeof placeOf>[1],
  runner: Pick<Runner, 'withSession'>,
): Promise<readonly string[]> {
  const kinds = cursor.word.startsWith('-') ? [] : kindsAt(cursor);
  if (kinds.length === 0) return [];
  const { proposedNames } = await import('./proposed-names.ts');
  const flags: GlobalFlags = { ...cursor.flags, timeout: `${namesMs}ms` };
  let names: readonly string[] = [];
  try {
    if (placeOf(flags, env).cluster !== undefined) return [];
    await runner.withSession(completeCommand, flags, async (session) => {
      const over = new AbortController();
      const listing = proposedNames(kinds, cursor.word, session).catch(() => []);
      names = (await Promise.race([listing, systemClock.sleep(namesMs, over.signal)])) ?? [];
      over.abort();
    });
  } catch {
    return [];
  }
  return names;
}
