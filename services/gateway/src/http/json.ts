import JSON5 from 'json5';
import { type ParseError, parse, printParseErrorCode } from 'jsonc-parser';
import { RestError } from '../errors/rest-error.ts';

/** Deepest nesting of a body. The parsers recurse. */
const depthMax = 200;

/** @throws RestError 400 for a body that may be nested deeper; brackets in texts count too */
const refuseDepth = (text: string): void => {
  let depth = 0;
  for (const [bracket] of text.matchAll(/[[\]{}]/g)) {
    depth += bracket === '[' || bracket === '{' ? 1 : -1;
    if (depth <= depthMax) continue;
    throw new RestError(400, 'InvalidRequestContent', `the body must not be nested deeper than ${depthMax} levels`);
  }
};

/** Where JSON5 stopped; its message also shows the character there. */
const placeIn = (error: unknown): string => {
  const { lineNumber, columnNumber } = error as { readonly lineNumber?: number; readonly columnNumber?: number };
  return lineNumber === undefined ? 'it cannot be read' : `error at line ${lineNumber}, column ${columnNumber}`;
};

/**
 * Reads a JSON body. A `null` counts as not given (clients send many), so members that are null are left out.
 * @param isJson5 comments, single quotes and names without quotes are allowed
 * @throws RestError 400 with the offset of the first error; never with the text, which may hold a secret
 */
export const readJson = (text: string, isJson5 = false): unknown => {
  if (text.trim() === '') return undefined;
  refuseDepth(text);
  if (/\\u0000/i.test(text))
    throw new RestError(400, 'InvalidRequestContent', 'the body must not contain the character U+0000');
  const { parse: read } = isJson5 ? JSON5 : JSON;
  try {
    return read(text, (_key, value: unknown) => (value === null ? undefined : value));
  } catch (error) {
    if (isJson5) throw new RestError(400, 'InvalidRequestContent', `the body must be JSON: ${placeIn(error)}`);
    const errors: ParseError[] = [];
    parse(text, errors, { disallowComments: true });
    const [first] = errors;
    const what =
      first === undefined ? 'it cannot be read' : `${printParseErrorCode(first.error)} at offset ${first.offset}`;
    throw new RestError(400, 'InvalidRequestContent', `the body must be JSON: ${what}`);
  }
};
