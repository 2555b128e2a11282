import type { Caller } from '../request/calls.ts';

/** How long somebody waits for what is said beside an answer that is there already, in milliseconds. */
const ASIDE_MS = 2_000;

/** The same caller, for what is asked beside an answer, or a failure: a service that is silent does not hold that up. */
export const askingBeside = <Asking extends Pick<Caller, 'call'>>(caller: Asking): Asking => ({
  ...caller,
  call: (service, method, request, options) =>
    caller.call(service, method, request, { deadlineMs: ASIDE_MS, ...options }),
});
