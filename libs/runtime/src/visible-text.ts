/**
 * Characters that a terminal obeys, or that change the order or the lines of a text, instead of being shown: controls (C0, DEL, C1)
 * but for tab and line feed, marks of direction, and the separators of lines and paragraphs.
 */
const hidden = /[\p{Cc}\u061c\u200e\u200f\u2028-\u202e\u2066-\u2069]/gu;

const escaped = (character: string): string => `\\u${character.charCodeAt(0).toString(16).padStart(4, '0')}`;

/** A text with these characters as escapes, as in JSON: `\u001b`. Lines and tabs stay. */
export const visible = (text: string): string =>
  text.replace(hidden, (one) => (one === '\n' || one === '\t' ? one : escaped(one)));

/** The same in one line: line feeds and tabs are escapes too. For names and titles inside of a line. */
export const visibleInLine = (text: string): string =>
  text.replace(hidden, (one) => (one === '\n' ? '\\n' : one === '\t' ? '\\t' : escaped(one)));
