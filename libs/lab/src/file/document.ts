import { isMap, isScalar, isSeq, LineCounter, type Node, type ParsedNode, parseAllDocuments } from 'yaml';
import type { Problem } from '../experiment.ts';

/** Place of a value in a document: names of fields and indexes of lists, from the top. */
export type Path = readonly (string | number)[];

/** A YAML document as plain data, with the line of each of its parts. */
export interface Document {
  readonly data: unknown;
  /** Line of a part, from 1; of its nearest part above if it is missing. */
  lineOf(path: Path): number;
  /** The same for its column. */
  columnOf(path: Path): number;
}

/** Description of a kind of files. */
export interface DocumentKind {
  /** `an experiment` */
  readonly what: string;
  readonly charactersMax: number;
  /** What an empty file must start with. */
  readonly start: string;
}

/**
 * Reads one YAML document.
 * @returns the document, or all syntax errors
 */
export function readDocument(
  text: string,
  { what, charactersMax, start }: DocumentKind,
): Document | { readonly problems: readonly Problem[] } {
  if (text.length > charactersMax)
    return refuse(1, `the file has ${text.length} characters`, `At most ${charactersMax} are allowed: is it ${what}?`);
  const lineCounter = new LineCounter();
  const documents = parseAllDocuments(text, { lineCounter, prettyErrors: false, stringKeys: true });
  if (!Array.isArray(documents) || documents.length === 0) return refuse(1, 'the file is empty', start);
  const [document, second] = documents;
  const lineAt = (offset: number): number => Math.max(1, lineCounter.linePos(offset).line);
  const columnAt = (offset: number): number => Math.max(1, lineCounter.linePos(offset).col);
  const wrong = documents.flatMap(({ errors, warnings }) => [...errors, ...warnings]);
  if (wrong.length > 0) {
    const problems = wrong.map(({ pos, message }) => ({
      line: lineAt(pos[0]),
      column: columnAt(pos[0]),
      message: `the YAML is not valid: ${message.replace(/\s+/g, ' ').trim()}`,
      cure: cureOfSyntax(message),
    }));
    return { problems };
  }
  if (second !== undefined)
    return refuse(
      lineAt(second.range[0]),
      'the file has a second document',
      `Put ${what} into a file of its own, and remove the line ---.`,
    );
  if (document?.contents === undefined || document.contents === null || isEmpty(document.contents))
    return refuse(1, 'the file is empty', start);
  const { contents } = document;
  try {
    return {
      data: document.toJS({ maxAliasCount: 50 }),
      lineOf: (path) => lineAt(offsetOf(contents, path)),
      columnOf: (path) => columnAt(offsetOf(contents, path)),
    };
  } catch (error) {
    // `toJS` throws a ReferenceError if aliases would make the data many times larger than the text.
    if (!(error instanceof ReferenceError)) throw error;
    return refuse(
      1,
      `the aliases of the file cannot be resolved: ${error.message}`,
      'Write the values out instead of using YAML aliases.',
    );
  }
}

const refuse = (line: number, message: string, cure: string) => ({ problems: [{ line, message, cure }] });

const isEmpty = (node: ParsedNode): boolean => isScalar(node) && (node.value === null || node.value === '');

const cureOfSyntax = (message: string): string => {
  if (/unique/i.test(message)) return 'Write each field once.';
  if (/tab/i.test(message)) return 'Indent with spaces.';
  if (/tag/i.test(message)) return 'Remove the tag (!…).';
  return 'Check brackets, quotes and indentation of this line and the one above; quote texts with ": " or " #".';
};

/** Offset of the part at a path: its name in a map, its value in a list. */
function offsetOf(root: ParsedNode, path: Path): number {
  let node: Node | null | undefined = root;
  let offset = root.range[0];
  for (const step of path) {
    if (isMap(node)) {
      const pair: { key: unknown; value: unknown } | undefined = node.items.find(
        ({ key }) => isScalar(key) && key.value === step,
      );
      if (pair === undefined) return offset;
      offset = startOf(pair.key) ?? offset;
      node = pair.value as Node | null;
    } else if (isSeq(node)) {
      node = node.items[Number(step)] as Node | null | undefined;
      offset = startOf(node) ?? offset;
    } else return offset;
  }
  return offset;
}

const startOf = (node: unknown): number | undefined => {
  const range: unknown = node !== null && typeof node === 'object' ? Reflect.get(node, 'range') : undefined;
  return Array.isArray(range) ? Number(range[0]) : undefined;
};
