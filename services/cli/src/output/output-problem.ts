/** A file that cannot be written. Ends the command with exit code 1. */
export class OutputProblem extends Error {
  override readonly name = 'OutputProblem';
  /** What to do about it. */
  readonly hint: string;
  constructor(message: string, hint: string, cause?: unknown) {
    super(message, { cause });
    this.hint = hint;
  }
}
