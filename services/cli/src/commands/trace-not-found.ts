/** No span of a trace is known. Ends the command with exit code 1. */
export class TraceNotFound extends Error {
  override readonly name = 'TraceNotFound';
}
