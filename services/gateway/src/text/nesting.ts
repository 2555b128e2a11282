const [doubleQuote, singleQuote, slash, star, backslash] = [34, 39, 47, 42, 92];

/** Line breaks of JSON5: they end a comment, and a text that is not valid. */
const isLineBreak = (code: number): boolean => code === 10 || code === 13 || code === 0x2028 || code === 0x2029;

/** Where a comment ends that may start here; the same place if none does. */
const afterComment = (text: string, at: number): number => {
  const next = text.charCodeAt(at + 1);
  if (next === star) {
    const end = text.indexOf('*/', at + 2);
    return end === -1 ? text.length : end + 2;
  }
  if (next !== slash) return at;
  let end = at + 2;
  while (end < text.length && !isLineBreak(text.charCodeAt(end))) end += 1;
  return end;
};

/** Where a quoted text ends that starts here. A line break ends it too: parsers that report errors continue there. */
const afterQuoted = (text: string, at: number): number => {
  const quote = text.charCodeAt(at);
  let end = at + 1;
  while (end < text.length) {
    const code = text.charCodeAt(end);
    if (code === quote || isLineBreak(code)) return end + 1;
    end += code === backslash ? 2 : 1;
  }
  return end;
};

/**
 * Whether arrays and objects of a JSON text are nested deeper than a limit, before a parser that recurses reads it. The text need not
 * be valid. Brackets in quoted texts and in comments do not count: with them, brackets that close would hide brackets that open.
 * @param isJson5 whether `'` quotes too
 */
export const isDeeperThan = (depthMax: number, text: string, isJson5: boolean): boolean => {
  let depth = 0;
  for (let at = 0; at < text.length; ) {
    const code = text.charCodeAt(at);
    if (code === doubleQuote || (isJson5 && code === singleQuote)) {
      at = afterQuoted(text, at);
      continue;
    }
    const next = code === slash ? afterComment(text, at) : at;
    if (next > at) {
      at = next;
      continue;
    }
    // [ and { open, ] and } close.
    if (code === 91 || code === 123) depth += 1;
    if (code === 93 || code === 125) depth = Math.max(0, depth - 1);
    if (depth > depthMax) return true;
    at += 1;
  }
  return false;
};
