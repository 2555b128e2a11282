import { mkdirSync } from 'node:fs';
import { basename, dirname, join } from 'node:path';
import { exportExperiment, exportTools, problemLines } from '@interlock/lab';
import { ExitCode, UsageError } from '../problems.ts';
import { choiceOf } from '../request/similar.ts';
import { readFrom } from './experiment.ts';
import type { OfflineParts } from './runner.ts';

/** Resource group that a pack names if the command line names none. */
const groupDefault = 'demo';
const imageDefault = 'localhost/interlock/tools:0.1.0';

/** Flags of `experiment export`. */
export interface ExportFlags {
  readonly to?: string;
  readonly output?: string;
  readonly image?: string;
  readonly group?: string;
  /** Writes nothing and returns 2 if the tool cannot say everything. */
  readonly strict?: boolean;
}

/**
 * Writes an experiment as files of another tool.
 * @returns 0, or 2 if the file is not valid, has a step that no command line can do, or with `strict` loses a part
 * @throws UsageError without `--to`, or for a file that cannot be read
 */
export async function exportFile(file: string, flags: ExportFlags, { terminal }: OfflineParts): Promise<number> {
  const { to, output = dirname(file), image = imageDefault, group = groupDefault } = flags;
  if (to === undefined) throw new UsageError(`name the tool with --to: ${exportTools.join(', ')}`);
  const read = readFrom(file, terminal);
  const name = basename(file)
    .replace(/(\.experiment)?\.ya?ml$/, '')
    .toLowerCase()
    .replace(/[^a-z0-9-]/g, '-');
  const made =
    'problems' in read
      ? read
      : exportExperiment(read.experiment, { tool: choiceOf(to, exportTools, '--to'), name, image, group });
  if ('problems' in made) {
    for (const line of problemLines(file, made.problems)) terminal.err(line);
    return ExitCode.usage;
  }
  for (const line of made.lost) terminal.err(line);
  if (flags.strict === true && made.lost.length > 0) {
    terminal.err(`--strict: ${to} cannot say ${made.lost.length} parts of ${file}; nothing was written`);
    return ExitCode.usage;
  }
  if (flags.output !== undefined) mkdirSync(output, { recursive: true });
  for (const [path, text] of made.files) {
    await terminal.writeFile(join(output, path), pieces(text));
    terminal.out(join(output, path));
  }
  return ExitCode.ok;
}

async function* pieces(text: string): AsyncGenerator<Uint8Array> {
  yield Buffer.from(text);
}
