import { isMap, isScalar, LineCounter, parseDocument } from 'yaml';
import type { PlannedGroup, Problem } from '../experiment.ts';
import { groupsOfEstate } from './groups.ts';
import { readEstate } from './read-estate.ts';

/**
 * Puts the machines of an estate file into an experiment that names it (`estate: twin.yaml`), in the same line, so that lines of
 * problems stay and the evidence of a run needs no other file. Any other text is returned as it is.
 * @param read returns the text of the named file; throws if it cannot be read
 */
export function inlineEstate(
  text: string,
  read: (path: string) => string,
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
  let estateText: string;
  try {
    estateText = read(path);
  } catch (error) {
    const why = error instanceof Error ? error.message : String(error);
    return refuse(`the estate file ${path} cannot be read: ${why}`, 'Write its path from the folder of this file.');
  }
  const found = readEstate(estateText);
  if ('problems' in found)
    return {
      problems: found.problems.map((problem) => ({
        line,
        message: `${path}:${problem.line}: ${problem.message}`,
        cure: problem.cure,
      })),
    };
  const groups = groupsOfEstate(found.estate);
  if (groups.length === 0)
    return refuse(`the estate file ${path} has no running machine`, 'Add a machine, or remove running: false.');
  return { text: `${text.slice(0, start)}${flowOf(groups)}${text.slice(end)}` };
}

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
