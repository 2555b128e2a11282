/** A value of a table. */
export type Cell = string | number | bigint | boolean;

/** A table as RFC 4180 text, with a header. */
export const csv = (header: readonly string[], rows: readonly (readonly Cell[])[]): string =>
  [header, ...rows].map((row) => `${row.map(cellText).join(',')}\n`).join('');

const cellText = (cell: Cell): string => {
  const text = String(cell);
  return /[",\r\n]/.test(text) ? `"${text.replaceAll('"', '""')}"` : text;
};
