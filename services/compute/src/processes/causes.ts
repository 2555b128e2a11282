import type { Cause } from '@interlock/event-store';
import { type Clock, currentTraceparent, type Random } from '@interlock/runtime';
import type { Work } from '../vm/machine.ts';

/** As whom compute acts by itself. */
const platform = 'system:compute';

/** The cause of what a process records: the request its work began with. */
export const causeOf = ({ correlationId, causationId, caller, traceparent }: Work): Cause => {
  const current = currentTraceparent() ?? traceparent;
  return { correlationId, causationId, caller, ...(current === undefined ? {} : { traceparent: current }) };
};

/** The cause of what compute does without a request or a fact. */
export const ownCause = (random: Pick<Random, 'uuid'>): Cause => {
  const id = random.uuid();
  return { correlationId: id, causationId: id, caller: platform };
};

/** A stop by the platform as a piece of work: its correlation is that of the change that caused it (VM-44). */
export const keyStopWork = (cause: Cause, clock: Clock, random: Random): Work => ({
  id: random.uuid(),
  kind: 'keyStop',
  at: clock.now(),
  ...cause,
  caller: platform,
});
