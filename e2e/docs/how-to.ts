import { textOf } from './sources.ts';

/** A command of a page, as a reader copies it. */
export interface PageCommand {
  readonly page: string;
  /** Words behind `npx interlock`. */
  readonly args: readonly string[];
  /** What its comment promises: whether it is refused, and words of its output. */
  readonly isRefused: boolean;
  readonly words: readonly string[];
}

/** Words of a comment that an output has literally: states, reasons and principals. */
const literal =
  /\b[A-Z][A-Z_]{3,}\b|\bsystem:[a-z]+\b|\b[a-z0-9]+\/keys\/[a-z0-9]+\b|nothing depends on it|would restart when the key is back/g;

/** What a page has its reader export, by name. */
const exportsOf = (page: string): ReadonlyMap<string, string> =>
  new Map([...textOf(page).matchAll(/^export ([A-Z]+)=(\S+)/gm)].map(([, name = '', value = '']) => [name, value]));

/**
 * The commands of a page, in order: lines of its blocks that begin with `npx interlock`. One that a reader has to fill in
 * (`<version>`) or that moves data through the shell is left out, and so are experiments, which start clouds of their own, `watch`,
 * which runs until Ctrl-C, and `report`, which writes a file: tests of their own run them.
 */
export const commandsOf = (page: string): readonly PageCommand[] => {
  const exported = exportsOf(page);
  const known = (word: string): string => word.replace(/\$([A-Z]+)/g, (whole, name) => exported.get(name) ?? whole);
  return [...textOf(page).matchAll(/^```\n([\s\S]*?)^```$/gm)]
    .flatMap(([, block = '']) => block.split('\n'))
    .filter(
      (line) => /^npx interlock (?!experiment |watch\b|report )/.test(line) && !/[<>|]/.test(line.split(' #')[0] ?? ''),
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
