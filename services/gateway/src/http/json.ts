import JSON5 from 'json5';
import { type ParseErrorCode, printParseErrorCode, visit } from 'jsonc-parser';
import { RestError } from '../errors/rest-error.ts';
import { isDeeperThan } from '../text/nesting.ts';

/** Deepest nesting of a body. The parsers recurse. */
const depthMax = 200;

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
  if (isDeeperThan(depthMax, text, isJson5)) {
    throw new RestError(400, 'InvalidRequestContent', `the body must not be nested deeper than ${depthMax} levels`);
  }
  if (/\\u0000/i.test(text))
    throw new RestError(400, 'InvalidRequestContent', 'the body must not contain the character U+0000');
  try {
    return withoutNulls(JSON.parse(text));
  } catch {
    // JSON5 needs five times the time and memory, so it reads only what is no JSON.
    if (isJson5) return readJson5(text);
    // Ends at the first error: a body of a megabyte may have a million.
    const onError = (code: ParseErrorCode, offset: number): never => {
      throw notJson(`${printParseErrorCode(code)} at offset ${offset}`);
    };
    visit(text, { onError }, { disallowComments: true });
    throw notJson('it cannot be read');
  }
};

/** Removes the members that are null, in place: a reviver of the parser needs three times the time. */
const withoutNulls = (value: unknown): unknown => {
  if (typeof value !== 'object') return value;
  if (value === null) return undefined;
  const members = value as Record<string, unknown>;
  for (const name of Object.keys(members)) {
    if (members[name] === null) delete members[name];
    else withoutNulls(members[name]);
  }
  return value;
};

const readJson5 = (text: string): unknown => {
  try {
    return withoutNulls(JSON5.parse(text));
  } catch (error) {
    throw notJson(placeIn(error));
  }
};

const notJson = (what: string): RestError =>
  new RestError(400, 'InvalidRequestContent', `the body must be JSON: ${what}`);
