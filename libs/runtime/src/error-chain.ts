/** One link of a chain of causes, in the form for a log. */
export interface ErrorLink {
  readonly name: string;
  readonly message: string;
  readonly stack?: string;
  /** Errors gathered in an `AggregateError`, each with its own chain. */
  readonly errors?: readonly (readonly ErrorLink[])[];
}

/** Longest chain that is followed: a cycle of causes must not hang the log. */
const CHAIN_LENGTH_MAX = 16;

/** An error and its causes, outermost first. The text of an error does not contain that of its cause, so logs print all. */
export function errorChain(error: unknown, depth = 0): readonly ErrorLink[] {
  if (error === undefined || error === null || depth >= CHAIN_LENGTH_MAX) return [];
  if (!(error instanceof Error)) return [{ name: typeof error, message: String(error) }];
  return [
    {
      name: error.name,
      message: error.message,
      ...(error.stack === undefined ? {} : { stack: error.stack }),
      ...(error instanceof AggregateError ? { errors: error.errors.map((each) => errorChain(each, depth + 1)) } : {}),
    },
    ...errorChain(error.cause, depth + 1),
  ];
}
