import type { Cause } from '@interlock/event-store';
import { systemRandom } from '@interlock/runtime';

/** A cause with its own trace, as long as that of a real request. */
export const newCause = (): Cause & { readonly traceparent: string } => {
  const id = systemRandom.uuid();
  const hex = (bytes: number): string => Buffer.from(systemRandom.bytes(bytes)).toString('hex');
  return {
    correlationId: id,
    causes: [],
    caller: `principals/${systemRandom.uuid()}`,
    traceparent: `00-${hex(16)}-${hex(8)}-01`,
  };
};

/** Events of several decisions, each on the state after the earlier ones. */
export const decideInTurn = <State, Event>(
  before: State,
  evolve: (state: State, event: Event) => State,
  decisions: readonly ((state: State) => readonly Event[])[],
): readonly Event[] => {
  const events: Event[] = [];
  let state = before;
  for (const decide of decisions) {
    const more = decide(state);
    events.push(...more);
    state = more.reduce(evolve, state);
  }
  return events;
};
