import { Rejection } from '@interlock/event-store';
import { RpcFailure } from '@interlock/rpc';
import type { Clock } from '@interlock/runtime';

/** How long a call of an experiment is repeated while its service does not respond, and the pause in between, in milliseconds. */
const limitMs = 120_000;
const pauseMs = 250;

/** Whether repeating a call may help: the service did not respond, or cannot decide now. */
const isTemporary = (error: unknown): boolean =>
  error instanceof RpcFailure || (error instanceof Rejection && error.retryable());

/**
 * Repeats a call until its service responds: a fault of the same experiment may make the service unreachable.
 * @param work may be carried out several times
 * @param isExpected a refusal that is temporary here
 * @throws the refusal of a service, or after 120 s the last failure
 */
export const insist = async <Result>(
  clock: Clock,
  work: () => Promise<Result>,
  isExpected: (error: unknown) => boolean = () => false,
): Promise<Result> => {
  for (const endMs = clock.monotonicMs() + limitMs; ; await clock.sleep(pauseMs)) {
    try {
      return await work();
    } catch (error) {
      if (!(isTemporary(error) || isExpected(error)) || clock.monotonicMs() > endMs) throw error;
    }
  }
};
