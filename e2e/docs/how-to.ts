import { textOf } from './sources.ts';

/** A command of a page, as a reader copies it. */
export interface PageCommand {
  readonly page: string;
  /** The arguments after `npx interlock`. */
  readonly args: readonly string[];
  /** What its comment promises: whether it is refused, and words in its output. */
  readonly isRefused: boolean;
  readonly words: readonly string[];
}

/** Words of a comment that appear literally in an output: states, reasons and principals. */
const literal =
  /\b[A-Z][A-Z_]{3,}\b|\bsystem:[a-z]+\b|\b[a-z0-9]+\/keys\/[a-z0-9]+\b|nothing depends on it|would restart when the key is back/g;

/** The variables that a reader of the page exports, by name. */
const exportsOf = (page: string): ReadonlyMap<string, string> =>
  new Map([...textOf(page).matchAll(/^export ([A-Z]+)=(\S+)/gm)].map(([, name = '', value = '']) => [name, value]));

/**
 * The commands of a page, in order: lines of its code blocks that start with `npx interlock`. Left out are commands that a reader must
 * complete (`<version>`) or that move data through the shell. Left out too are experiments, which start their own clouds, `watch`
 * and `page`, which run until Ctrl-C, and `report`, which writes a file: other tests run them.
 */
export const commandsOf = (page: string): readonly PageCommand[] => {
  const exported = exportsOf(page);
  const known = (word: string): string => word.replace(/\$([A-Z]+)/g, (whole, name) => exported.get(name) ?? whole);
  return [...textOf(page).matchAll(/^```\n([\s\S]*?)^```$/gm)]
    .flatMap(([, block = '']) => block.split('\n'))
    .filter(
      (line) =>
        /^npx interlock (?!experiment |watch\b|page\b|report )/.test(line) && !/[<>|]/.test(line.split(' #')[0] ?? ''),
    )
    .map((line) => {
      const [command = '', comment = ''] = line.split(/\s+# /);
      const args = command
        .trim()
        .split(/\s+/)
        .slice(2)
        .map((word) => (word === '""' ? '' : known(word)));
      const words = /, or /.test(comment) ? [] : [...comment.matchAll(literal)].map(([word]) => word);
      return { page, args, isRefused: /\brefused\b/.test(comment), words };
    });
};
