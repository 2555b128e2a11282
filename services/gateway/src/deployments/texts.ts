import type { Work } from '../text/work.ts';

/**
 * Where a text occurs in another, without overlaps (Knuth, Morris and Pratt: each character is looked at once or twice). The search
 * of the language compares the whole part at each place: a part of 200 kB in 400 kB takes seconds.
 */
export function* occurrences(whole: string, part: string): Generator<number, undefined, undefined> {
  if (part === '') {
    yield 0;
    return;
  }
  const borders = bordersOf(part);
  let fitting = 0;
  for (let at = 0; at < whole.length; at += 1) {
    const code = whole.charCodeAt(at);
    while (fitting > 0 && part.charCodeAt(fitting) !== code) fitting = borders[fitting - 1] ?? 0;
    if (part.charCodeAt(fitting) === code) fitting += 1;
    if (fitting < part.length) continue;
    yield at + 1 - part.length;
    fitting = 0;
  }
}

/** Of each start of a text: how long the longest shorter start is that it also ends with. */
const bordersOf = (part: string): Int32Array => {
  const borders = new Int32Array(part.length);
  let fitting = 0;
  for (let at = 1; at < part.length; at += 1) {
    const code = part.charCodeAt(at);
    while (fitting > 0 && part.charCodeAt(fitting) !== code) fitting = borders[fitting - 1] ?? 0;
    if (part.charCodeAt(fitting) === code) fitting += 1;
    borders[at] = fitting;
  }
  return borders;
};

/** The parts of a text between the places where a separator occurs. @throws Error of the budget */
const partsOf = (whole: string, separator: string, work: Work): readonly string[] => {
  work.spend(whole.length + separator.length);
  const parts: string[] = [];
  let from = 0;
  for (const at of occurrences(whole, separator)) {
    parts.push(whole.slice(from, at));
    from = at + separator.length;
  }
  parts.push(whole.slice(from));
  return parts;
};

/** The parts of a text between separators, none of which is empty. @throws Error of the budget */
export const split = (whole: string, separators: readonly string[], work: Work): readonly string[] => {
  let parts: readonly string[] = [whole];
  for (const separator of separators) {
    work.spend(parts.length);
    parts = parts.flatMap((part) => partsOf(part, separator, work));
    work.sizeOf(parts);
  }
  return parts;
};

/** Texts with a mark between them. @throws Error of the budget before it makes a large text */
export const join = (parts: readonly string[], mark: string, work: Work): string => {
  work.make(parts.reduce((sum, part) => sum + part.length + mark.length, 0));
  return parts.join(mark);
};

/** A text with another in place of each occurrence of the first. @throws Error of the budget before it makes a large text */
export const replace = (whole: string, old: string, fresh: string, work: Work): string =>
  join(partsOf(whole, old, work), fresh, work);
