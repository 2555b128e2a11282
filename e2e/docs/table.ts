/** One row of a Markdown table: its cells without the spaces around them. */
export type Row = readonly string[];

/** Cells of a line; `undefined` when it is no row of a table, or the line under a heading. */
export const rowOf = (line: string): Row | undefined =>
  /^\|.*\|$/.test(line) && !/^[|\s:-]+$/.test(line)
    ? line
        .slice(1, -1)
        .split('|')
        .map((cell) => cell.trim())
    : undefined;

/** A row as a line. */
export const lineOf = (row: Row): string => `| ${row.join(' | ')} |`;
