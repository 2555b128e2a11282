import { inspect } from 'node:util';
import { createScope, isSpaceError, type Scope, ScopeError } from '@interlock/runtime';
import { dataRoot, LauncherError } from './data-folder.ts';
import { fullness } from './disk-space.ts';
import { endAllGuarded } from './guarded-process.ts';

const signals = { SIGINT: 2, SIGTERM: 15, SIGHUP: 1 } as const;

/**
 * Runs one of the launcher's commands as this process. What it opens is closed in reverse order at its end, at Ctrl-C,
 * at SIGTERM, or at the end of the bootstrap. The process then exits with the command's exit code, or with 128 + n
 * after signal n. A LauncherError is shown as a text, other errors with their stack.
 * @param lastLine printed after everything is closed, so that it is the last line
 */
export function runCommand(main: (scope: Scope) => Promise<{ exitCode: number; lastLine?: string }>): void {
  const scope = createScope();
  let leaving = false;
  const leave = async (exitCode: number, lastLine?: string) => {
    if (leaving) return;
    leaving = true;
    const failed = await closed(scope);
    if (lastLine !== undefined) await new Promise((resolve) => process.stdout.write(`${lastLine}\n`, resolve));
    process.exit(exitCode === 0 && failed ? 1 : exitCode);
  };
  for (const [name, number] of Object.entries(signals)) {
    process.on(name, () => {
      if (!leaving) console.error('\nStopping …');
      void leave(128 + number);
    });
  }
  // The bootstrap holds the other end of the channel. It disconnects when the bootstrap is killed.
  process.on('disconnect', () => void leave(128 + signals.SIGHUP));
  process.channel?.unref();
  // If the terminal or pipe is gone, everything must still be stopped.
  process.stdout.on('error', () => void leave(1));

  main(scope).then(
    ({ exitCode, lastLine }) => leave(exitCode, lastLine),
    (error: unknown) => {
      // Errors of interrupted work are meaningless.
      if (!leaving) console.error(textOf(error));
      return leave(1);
    },
  );
}

async function closed(scope: Scope): Promise<boolean> {
  let failed = false;
  try {
    await scope.close();
  } catch (error) {
    failed = true;
    console.error(withCauses(error instanceof ScopeError ? error.errors : error));
  }
  await endAllGuarded();
  return failed;
}

/** A full disk is explained like a LauncherError: its stack says nothing more. */
const textOf = (error: unknown): string => {
  if (error instanceof LauncherError) return `\n${error.message}`;
  if (!isSpaceError(error)) return withCauses(error);
  const full = fullness(dataRoot(process.env)) ?? 'no space left on a disk of this machine';
  return `\n${full}: ${error.message}. Free some space, or set INTERLOCK_DATA to a folder with more.`;
};

/** An error with every cause: a part of a part that does not close is four levels down. */
const withCauses = (error: unknown): string => inspect(error, { depth: 10 });
