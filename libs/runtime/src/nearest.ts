/** The candidate that differs in the fewest letters, if it is close at all. */
export function nearest(text: string, candidates: readonly string[]): string | undefined {
  const measured = candidates.map((candidate) => ({ candidate, distance: editDistance(text, candidate) }));
  measured.sort((a, b) => a.distance - b.distance);
  const [best] = measured;
  return best !== undefined && best.distance <= Math.max(1, text.length / 3) ? best.candidate : undefined;
}

/** Letters to insert, remove or replace (Levenshtein), row by row. */
function editDistance(from: string, to: string): number {
  let row = Array.from({ length: to.length + 1 }, (_, column) => column);
  for (const [index, letter] of [...from].entries()) {
    const next = [index + 1];
    for (const [column, other] of [...to].entries()) {
      const replaced = (row[column] ?? 0) + (letter === other ? 0 : 1);
      next.push(Math.min(replaced, (row[column + 1] ?? 0) + 1, (next[column] ?? 0) + 1));
    }
    row = next;
  }
  return row.at(-1) ?? 0;
}
