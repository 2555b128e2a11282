import { type Cause, type Continued, continuing, type Stepping, stepIds } from '@interlock/event-store';
import { type Clock, currentTraceparent, type Random } from '@interlock/runtime';
import type { Work } from './machine.ts';

/** The caller of what compute does without a request. */
const platform = 'system:compute';

/** What a piece of work keeps of the cause of its request. */
type Origin = Pick<Work, 'correlationId' | 'caller' | 'traceparent' | 'tracestate' | 'baggage'>;

/** The part of a cause that the events of a machine's work store in their data. */
export const originOf = ({ correlationId, caller, traceparent, tracestate, baggage }: Origin): Origin => ({
  ...{ correlationId, caller },
  ...(traceparent === undefined ? {} : { traceparent }),
  ...(tracestate === undefined ? {} : { tracestate }),
  ...(baggage === undefined ? {} : { baggage }),
});

/** Stream of a machine. */
export const streamOf = (vm: string): string => `vm-${vm}`;

/** The cause of what a process records: the event it continues, under the request its work began with. */
export const causeOf = (vm: string, state: Stepping, work: Work): Cause => {
  const traceparent = currentTraceparent() ?? work.traceparent;
  const origin = originOf({ ...work, ...(traceparent === undefined ? {} : { traceparent }) });
  return continuing(origin, ...stepIds(streamOf(vm), state, 'work'));
};

/** The cause of what compute does without a request or a fact. @param ids events of its own that it continues */
export const ownCause = (random: Pick<Random, 'uuid'>, ...ids: readonly string[]): Cause =>
  continuing({ correlationId: random.uuid(), caller: platform }, ...ids);

/** What a change found by the sweep or after an outage continues: a machine's own event, because no loss is known to have led to it. */
export const unlessCaused = ({ causes }: Cause, timer: 'open' | 'blocked'): Continued =>
  causes.length === 0 ? { timer } : {};

/** A stop by the platform as a piece of work: its correlation is that of the change that caused it (VM-44). */
export const keyStopWork = (cause: Cause, clock: Clock, random: Random): Work => ({
  id: random.uuid(),
  kind: 'keyStop',
  at: clock.now(),
  ...originOf(cause),
  caller: platform,
});
