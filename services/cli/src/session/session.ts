import type { Channel } from '@interlock/rpc';
import type { Clock, Random } from '@interlock/runtime';
import type { Tracer } from '@opentelemetry/api';
import type { Output } from '../output/output.ts';
import type { Caller } from '../request/calls.ts';
import type { Settings } from './settings.ts';

/** Where words go and bytes come from. */
export interface Terminal {
  /** Characters in a line, where standard output is a terminal. */
  readonly width?: number | undefined;
  /** Whether standard output is a terminal, where bytes would do harm. */
  readonly isOutTerminal?: boolean;
  /** A line of the answer. @throws OutputProblem */
  out(text: string): void;
  /** A line beside the answer. */
  err(text: string): void;
  /** Bytes of the answer; resolves when more can be taken. @throws OutputProblem */
  outBytes(bytes: Uint8Array): Promise<void>;
  /** Standard input, or a file, piece by piece: it may be larger than memory. @throws UsageError for a file that cannot be read */
  in(path?: string): AsyncIterable<Uint8Array>;
  /** Content of a file; `-` is standard input. @throws UsageError when it cannot be read */
  readFile(path: string): Uint8Array;
  /**
   * Writes a file only its owner can read, piece by piece: it may be larger than memory. It takes the place of one that was there
   * once all of it is written.
   * @throws OutputProblem, or what the pieces end with; the file that was there is as it was then
   */
  writeFile(path: string, pieces: AsyncIterable<Uint8Array>): Promise<void>;
  /** Makes a new file only its owner can read, for what is not there yet. @throws OutputProblem also where there is one */
  newFile(path: string): NewFile;
}

/** A file that waits for its content; one of both ends it. */
export interface NewFile {
  readonly path: string;
  /** @throws OutputProblem */
  write(content: Uint8Array): void;
  /** Nothing came: the file goes again. */
  discard(): void;
}

/** What a command works with. */
export interface Session {
  readonly caller: Caller;
  readonly settings: Pick<Settings, 'names' | 'namesWithoutFlags' | 'tenant'>;
  readonly clock: Clock;
  readonly random: Random;
  readonly tracer: Tracer;
  /** Trace of the command, 32 hexadecimal digits; absent when nothing takes spans. */
  readonly trace: string | undefined;
  readonly terminal: Terminal;
  /** How a user types the command line: `interlock`, `npx interlock`. */
  readonly program: string;
  /** How answers are shown. */
  readonly output: Output;
  /** From `--timeout`. */
  readonly timeoutMs: number | undefined;
  /** A way to the address at which a disk's data is served. */
  readonly dataChannel: (address: string) => Channel;
}
