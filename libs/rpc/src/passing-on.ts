import { readEvent, withoutTracker } from '@interlock/event-store';
import type { Metadata } from 'nice-grpc-common';
import type { Call } from './call.ts';
import { EVENTS_TRAILER } from './call.ts';
import type { CallOptions } from './client-pipeline.ts';

/** Options of a call, with those of nice-grpc that are set here. */
type PassedOn = CallOptions & {
  readonly signal: AbortSignal;
  readonly onTrailer: (trailer: Pick<Metadata, 'get'>) => void;
};

/**
 * Options with which a process passes a call on to another process of its own service: with the token of the caller, who stays the
 * caller of every event, for the rest of its time, and until `signal` is aborted. The events that the other process appends are
 * those of this call: its caller learns them.
 * @param signal the end of the call, or an earlier one
 */
export const passingOn = (call: Pick<Call, 'token' | 'cause' | 'remainingMs'>, signal: AbortSignal): PassedOn => ({
  ...(call.token === undefined ? {} : { token: call.token }),
  // Without the tracker: every part of the call has the cause of the call, not the events of the parts before it.
  cause: withoutTracker(call.cause),
  deadlineMs: Math.max(0, call.remainingMs()),
  signal,
  onTrailer: (trailer) => {
    const events = trailer.get(EVENTS_TRAILER);
    if (events !== undefined) call.cause.tracker?.passedOn(events.split(',').map(readEvent));
  },
});
