import { inspect } from 'node:util';
import { createScope, type Scope, ScopeError } from '@interlock/runtime';
import { LauncherError } from './data-folder.ts';
import { endAllGuarded } from './guarded-process.ts';

const signals = { SIGINT: 2, SIGTERM: 15, SIGHUP: 1 } as const;

/**
 * Runs one of the launcher's commands as this process. What it opens is closed in reverse order at its end and at Ctrl-C,
 * SIGTERM or the end of the bootstrap, whenever that comes; the process then ends with the command's exit code, or 128 + n
 * after signal n. A LauncherError is shown as one text, anything else with its stack.
 * @param lastLine printed after everything is closed, so that it really is the last.
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
  // The bootstrap holds the other end; it is gone when that was killed.
  process.on('disconnect', () => void leave(128 + signals.SIGHUP));
  process.channel?.unref();
  // A terminal or pipe that went away is no reason to leave anything running.
  process.stdout.on('error', () => void leave(1));

  main(scope).then(
    ({ exitCode, lastLine }) => leave(exitCode, lastLine),
    (error: unknown) => {
      // What was interrupted fails in ways that say nothing.
      if (!leaving) console.error(error instanceof LauncherError ? `\n${error.message}` : withCauses(error));
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

/** An error with every cause: a part of a part that does not close is four levels down. */
const withCauses = (error: unknown): string => inspect(error, { depth: 10 });
