import type { Channel } from '@interlock/rpc';
import type { Clock, Random } from '@interlock/runtime';
import type { Tracer } from '@opentelemetry/api';
import type { Output } from '../output/output.ts';
import type { Terminal } from '../output/terminal.ts';
import type { Caller } from '../request/calls.ts';
import type { Settings } from './settings.ts';

/** What a command works with: a cloud, who calls, and how responses are shown. */
export interface Session {
  readonly caller: Caller;
  readonly settings: Pick<Settings, 'names' | 'namesWithoutFlags' | 'tenant'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly tracer: Tracer;
  /** Trace of the command, 32 hexadecimal digits; undefined if no spans are exported. */
  readonly trace: string | undefined;
  readonly terminal: Terminal;
  /** How a user types the command line: `interlock`, `npx interlock`. */
  readonly program: string;
  /** The command line as typed, ready to be repeated: `interlock key disable kv1/k1`. */
  readonly typed: string;
  /** How responses are shown. */
  readonly output: Output;
  /** From `--timeout`. */
  readonly timeoutMs: number | undefined;
  /** Opens a channel to the address that serves a disk's data. */
  readonly dataChannel: (address: string) => Channel;
}
