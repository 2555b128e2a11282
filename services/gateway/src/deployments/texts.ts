import type { Work } from '../text/work.ts';

/**
 * Finds where a text occurs in another, without overlaps (Knuth, Morris and Pratt: each character is looked at once or twice). The
 * search of the language compares the whole part at each place: a part of 200 kB in 400 kB takes seconds.
 * @param found is called with each place; the search ends when it returns false
 */
const eachOccurrence = (whole: string, part: string, found: (at: number) => boolean): void => {
  const borders = bordersOf(part);
  let fitting = 0;
  for (let at = 0; at < whole.length; at += 1) {
    const code = whole.charCodeAt(at);
    while (fitting > 0 && part.charCodeAt(fitting) !== code) fitting = borders[fitting - 1] ?? 0;
    if (part.charCodeAt(fitting) === code) fitting += 1;
    if (fitting < part.length) continue;
    if (!found(at + 1 - part.length)) return;
    fitting = 0;
  }
};

/** Where a text first occurs in another; -1 if it does not. An empty one occurs at the start. */
export const firstOccurrence = (whole: string, part: string): number => {
  if (part === '') return 0;
  let first = -1;
  eachOccurrence(whole, part, (at) => {
    first = at;
    return false;
  });
  return first;
};

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

/** The parts of a text between the places where a separator occurs. @throws Error of the budget as soon as there are too many */
const partsOf = (whole: string, separator: string, work: Work): readonly string[] => {
  work.spend(whole.length + separator.length);
  const parts: string[] = [];
  let from = 0;
  eachOccurrence(whole, separator, (at) => {
    parts.push(whole.slice(from, at));
    from = at + separator.length;
    if (parts.length % countedAtOnce === 0) work.make(bytesOfPart * countedAtOnce);
    return true;
  });
  parts.push(whole.slice(from));
  return parts;
};

/** Parts that are counted together, and the bytes of one besides its characters. */
const countedAtOnce = 10_000;
const bytesOfPart = 24;

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
export const replace = (whole: string, old: string, fresh: string, work: Work): string => {
  work.spend(whole.length + old.length);
  let length = whole.length;
  eachOccurrence(whole, old, () => {
    length += fresh.length - old.length;
    return true;
  });
  work.make(length);
  const parts: string[] = [];
  let from = 0;
  eachOccurrence(whole, old, (at) => {
    parts.push(whole.slice(from, at));
    from = at + old.length;
    return true;
  });
  parts.push(whole.slice(from));
  return parts.join(fresh);
};
