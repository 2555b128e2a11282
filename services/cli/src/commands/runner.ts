import type { Output } from '../output/output.ts';
import type { Terminal } from '../output/terminal.ts';
import type { Environment, GlobalFlags } from '../session/environment.ts';
import type { Session } from '../session/session.ts';
import type { LocalCommands } from './local-commands.ts';

/** What a command works with that asks no service. */
export interface OfflineParts {
  readonly env: Environment;
  readonly terminal: Terminal;
  readonly output: Output;
}

/** How the commands are carried out. */
export interface Runner extends LocalCommands {
  /** Opens a session, works in a trace named after the command, closes it. */
  withSession(name: string, flags: GlobalFlags, work: (session: Session) => Promise<void>): Promise<void>;
  /** The same for a probe: what `work` says, and every failure to find out, is the exit code 0 or 1. */
  probe(name: string, flags: GlobalFlags, work: (session: Session) => Promise<boolean>): Promise<void>;
  /** Carries out what asks no service. */
  offline(flags: GlobalFlags, work: (parts: OfflineParts) => Promise<void>): Promise<void>;
  /** Takes the text of help. */
  readonly print: (text: string) => void;
  /** Takes the text of help that nobody asked for: a noun without a verb. */
  readonly printUsage: (text: string) => void;
}
