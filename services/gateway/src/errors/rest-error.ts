/** What an error body contains besides code and message. */
export interface RestErrorDetails {
  /** The narrower code that vault clients read, for example `KeyDisabled`. */
  readonly innerCode?: string | undefined;
  /** The service's reason and its metadata, for people and scripts. */
  readonly details?: readonly { readonly code: string; readonly message: string; readonly target?: string }[];
  /** Further headers, for example `Retry-After`. */
  readonly headers?: Readonly<Record<string, string>>;
}

/** A refusal as the public cloud's clients expect it: `{"error":{"code","message","innererror":{"code"},"details"}}`. */
export class RestError extends Error {
  override readonly name = 'RestError';
  readonly status: number;
  readonly code: string;
  readonly innerCode: string | undefined;
  readonly details: NonNullable<RestErrorDetails['details']>;
  readonly headers: Readonly<Record<string, string>>;

  /** @param status HTTP status @param code in Pascal case */
  constructor(status: number, code: string, message: string, rest: RestErrorDetails = {}, options?: ErrorOptions) {
    super(message, options);
    this.status = status;
    this.code = code;
    this.innerCode = rest.innerCode;
    this.details = rest.details ?? [];
    this.headers = rest.headers ?? {};
  }
}

/** The error in its body, and in the status of an operation. @param shown makes a text one for clients */
export const errorContent = (
  { code, message, innerCode, details }: RestError,
  shown: (text: string) => string = (text) => text,
) => ({
  code,
  message: shown(message),
  ...(innerCode === undefined ? {} : { innererror: { code: innerCode } }),
  ...(details.length === 0 ? {} : { details: details.map((one) => ({ ...one, message: shown(one.message) })) }),
});

/** The body of an error. */
export const errorBody = (error: RestError, shown?: (text: string) => string): unknown => ({
  error: errorContent(error, shown),
});
