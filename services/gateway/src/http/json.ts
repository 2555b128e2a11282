import { type ParseError, parse, printParseErrorCode } from 'jsonc-parser';
import { RestError } from '../errors/rest-error.ts';

/**
 * Reads a JSON body. A `null` counts as not given (clients send many), so members that are null are left out.
 * @throws RestError 400 with the offset of the first error; never with the text, which may hold a secret
 */
export const readJson = (text: string): unknown => {
  if (text.trim() === '') return undefined;
  try {
    return JSON.parse(text, (_key, value: unknown) => (value === null ? undefined : value));
  } catch {
    const errors: ParseError[] = [];
    parse(text, errors, { disallowComments: true });
    const [first] = errors;
    const what =
      first === undefined ? 'it cannot be read' : `${printParseErrorCode(first.error)} at offset ${first.offset}`;
    throw new RestError(400, 'InvalidRequestContent', `the body must be JSON: ${what}`);
  }
};
