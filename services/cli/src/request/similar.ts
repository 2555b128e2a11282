import { UsageError } from '../problems.ts';

/** The choice that was typed. @throws UsageError naming the choices and the one that was probably meant */
export function choiceOf<Choice extends string>(text: string, choices: readonly Choice[], flag: string): Choice {
  const found = choices.find((choice) => choice === text);
  if (found !== undefined) return found;
  const near = nearest(text, choices);
  const suggestion = near === undefined ? '' : ` Did you mean ${near}?`;
  throw new UsageError(`${flag} must be one of ${choices.join(', ')}, not "${text}".${suggestion}`);
}

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
