import { type EstateFile, problemLines, readEstate } from '@interlock/lab';
import type { Terminal } from '../output/terminal.ts';
import { UsageError } from '../problems.ts';

/** Writes a text to a new file, or to standard output. @throws OutputProblem */
export function writeEstate(text: string, file: string | undefined, terminal: Terminal): void {
  if (file === undefined) terminal.out(text.trimEnd());
  else {
    terminal.newFile(file).write(Buffer.from(text));
    terminal.err(`the estate is in ${file}`);
  }
}

/** Reads an estate file. @throws UsageError with every problem of it, by line */
export function estateIn(file: string, terminal: Pick<Terminal, 'readFile' | 'err'>): EstateFile {
  const read = readEstate(Buffer.from(terminal.readFile(file)).toString('utf8'));
  if ('estate' in read) return read.estate;
  throw refused(problemLines(file, read.problems), terminal);
}

/** The error of files with problems. Several are shown one by one: an error is one line. */
export function refused(problems: readonly string[], { err }: Pick<Terminal, 'err'>): UsageError {
  const [only, second] = problems;
  if (only !== undefined && second === undefined) return new UsageError(only);
  for (const line of problems) err(line);
  return new UsageError(`${problems.length} problems: correct them and repeat`);
}
