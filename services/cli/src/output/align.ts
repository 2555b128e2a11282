import { visibleInLine } from '@interlock/runtime';
import cliTruncate from 'cli-truncate';
import stringWidth from 'string-width';

/** Between two columns. */
export const GAP = '  ';

/** How many columns of a terminal a text takes: wide characters (CJK, emoji) take two. */
export const widthOf = stringWidth;

/** The text, with spaces up to a width. */
export const padded = (text: string, width: number): string =>
  text + ' '.repeat(Math.max(0, width - stringWidth(text)));

/** Keeps the beginning. @param width in columns of a terminal */
export const cutEnd = (text: string, width: number): string => cliTruncate(text, width);

/** Keeps both ends: related names differ there, such as `orders-db-01-os` and `orders-db-02-data`. */
export const cutMiddle = (text: string, width: number): string => cliTruncate(text, width, { position: 'middle' });

/** Rows of cells as text: each column as wide as its widest cell. The last cell of a row widens no column. */
export function aligned(texts: readonly (readonly string[])[]): string {
  // A name with a line feed must not make a row.
  const rows = texts.map((row) => row.map(visibleInLine));
  const widths: number[] = [];
  for (const row of rows)
    for (const [column, text] of row.slice(0, -1).entries())
      widths[column] = Math.max(widths[column] ?? 0, stringWidth(text));
  return rows
    .map((row) =>
      row
        .map((text, column) => padded(text, widths[column] ?? 0))
        .join(GAP)
        .trimEnd(),
    )
    .join('\n');
}
