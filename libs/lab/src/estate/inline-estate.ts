import { dirname, resolve } from 'node:path';
import { isInFolder, readUserFile } from '@interlock/runtime';
import { isMap, isScalar, LineCounter, parseDocument } from 'yaml';
import type { PlannedGroup, Problem } from '../experiment.ts';
import { groupsOfEstate } from './groups.ts';
import { readEstate } from './read-estate.ts';

/** The file that an experiment names as its estate. */
export interface NamedEstate {
  readonly text: string;
  /**
   * Whether errors may show what is in it: it is in the folder of the experiment, or below it. An experiment may come from elsewhere
   * and name any file that its user can read, and errors may go to a public log. A link counts as what it leads to.
   */
  readonly isShown: boolean;
}

/**
 * Reads an experiment file with the estate file that it names, by its path from the folder of the experiment.
 * @param textOf reads a file, or throws
 * @throws what `textOf` throws for the experiment itself
 */
export const experimentTextOf = (
  file: string,
  textOf: (path: string) => string = (path) => readUserFile(path).toString('utf8'),
): ReturnType<typeof inlineEstate> =>
  inlineEstate(textOf(file), (path) => {
    const full = resolve(dirname(file), path);
    const text = textOf(full);
    return { text, isShown: isInFolder(dirname(resolve(file)), full) };
  });

/**
 * Puts the machines of an estate file into an experiment that names it (`estate: twin.yaml`), in the same line, so that lines of
 * problems stay and the evidence of a run needs no other file. Any other text is returned as it is.
 * @param read returns the named file; throws if it cannot be read
 */
export function inlineEstate(
  text: string,
  read: (path: string) => NamedEstate,
): { readonly text: string } | { readonly problems: readonly Problem[] } {
  const lines = new LineCounter();
  const document = parseDocument(text, { lineCounter: lines });
  const pair = isMap(document.contents)
    ? document.contents.items.find(({ key }) => isScalar(key) && key.value === 'estate')
    : undefined;
  const node = pair?.value;
  if (document.errors.length > 0 || !isScalar(node) || typeof node.value !== 'string' || !node.range) return { text };
  const [start, end] = node.range;
  const { line } = lines.linePos(start);
  const path = node.value;
  const refuse = (message: string, cure: string) => ({ problems: [{ line, message, cure }] });
  let named: NamedEstate;
  try {
    named = read(path);
  } catch (error) {
    // The reader's own message names the path again.
    const { message, cause } = error instanceof Error ? error : { message: String(error), cause: undefined };
    const why = cause instanceof Error ? cause.message : message;
    return refuse(`the estate file ${path} cannot be read: ${why}`, 'Write its path from the folder of this file.');
  }
  const found = readEstate(named.text);
  if ('problems' in found) return { problems: problemsIn(path, found.problems, named.isShown, line) };
  const groups = groupsOfEstate(found.estate);
  if (groups.length === 0)
    return refuse(`the estate file ${path} has no running machine`, 'Add a machine, or remove running: false.');
  return { text: `${text.slice(0, start)}${flowOf(groups)}${text.slice(end)}` };
}

/** Problems of the estate file, at the line of the experiment that names it. Without its content, only the first: their number would reveal something of it. */
const problemsIn = (path: string, problems: readonly Problem[], isShown: boolean, line: number): readonly Problem[] =>
  problems.slice(0, isShown ? problems.length : 1).map((problem) => {
    const place = `${path}:${problem.line}:${problem.column ?? 1}`;
    if (isShown) return { line, message: `${place}: ${problem.message}`, cure: problem.cure };
    const message = `${place}: this is no estate; what is there is not shown, because the file is outside of the folder of the experiment`;
    return { line, message, cure: 'Check the path, or copy the file into that folder to see its problems.' };
  });

/** Groups as YAML in one line, which JSON is too. */
const flowOf = (groups: readonly PlannedGroup[]): string =>
  JSON.stringify(
    Object.fromEntries(
      groups.map(({ name, machines, disks, key }) => [
        name,
        {
          machines,
          disks: disks.map((disk) => ({ [disk.class]: disk.key })),
          ...(key === '' ? { key: 'platform' } : { key }),
        },
      ]),
    ),
  );
