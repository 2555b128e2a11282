import type { LocalCommands } from './local-commands.ts';
import type { Session } from './session.ts';
import type { GlobalFlags } from './settings.ts';

/** How the commands are carried out. */
export interface Runner extends LocalCommands {
  /** Opens a session, works in a trace named after the command, closes it. */
  withSession(name: string, flags: GlobalFlags, work: (session: Session) => Promise<void>): Promise<void>;
  /** The same for a probe: what `work` says, and every failure to find out, is the exit code 0 or 1. */
  probe(name: string, flags: GlobalFlags, work: (session: Session) => Promise<boolean>): Promise<void>;
  /** Takes the text of help. */
  readonly print: (text: string) => void;
  /** Takes the text of help that nobody asked for: a noun without a verb. */
  readonly printUsage: (text: string) => void;
}
