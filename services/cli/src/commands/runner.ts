import type { Output } from '../output/output.ts';
import type { Terminal } from '../output/terminal.ts';
import type { Environment, GlobalFlags } from '../session/environment.ts';
import type { Session } from '../session/session.ts';
import type { LocalCommands } from './local-commands.ts';

/** What a command without services works with. */
export interface OfflineParts {
  readonly env: Environment;
  readonly terminal: Terminal;
  readonly output: Output;
}

/** Runs the commands. */
export interface Runner extends LocalCommands {
  /** Opens a session, runs the work in a trace named after the command, and closes the session. */
  withSession(name: string, flags: GlobalFlags, work: (session: Session) => Promise<void>): Promise<void>;
  /** Like `withSession`, for a probe: its result, or its failure, is the exit code 0 or 1. */
  probe(name: string, flags: GlobalFlags, work: (session: Session) => Promise<boolean>): Promise<void>;
  /** Runs a command that calls no service. A number that it returns is the exit code. */
  offline(flags: GlobalFlags, work: (parts: OfflineParts) => Promise<unknown>): Promise<void>;
  /** Prints help. */
  readonly print: (text: string) => void;
  /** Prints help for a noun without a verb, which is an error. */
  readonly printUsage: (text: string) => void;
}
