/** What a chain of decisions leads to, each made on what the ones before led to. */
export const inTurn =
  <State, Event>(evolve: (state: State, event: Event) => State) =>
  (...decisions: readonly ((state: State) => readonly Event[])[]) =>
  (before: State): readonly Event[] => {
    const events: Event[] = [];
    let state = before;
    for (const decide of decisions) {
      const more = decide(state);
      events.push(...more);
      state = more.reduce(evolve, state);
    }
    return events;
  };
