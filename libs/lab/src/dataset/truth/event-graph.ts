/** A directed graph of events. */
export interface EventGraph {
  causesOf(id: string): readonly string[];
  effectsOf(id: string): readonly string[];
}

/** An edge: one event caused another. */
export interface Edge {
  readonly from: string;
  readonly to: string;
}

const none: readonly string[] = [];

/** Indexes edges in both directions. */
export const eventGraph = (edges: readonly Edge[]): EventGraph => {
  const causes = new Map<string, string[]>();
  const effects = new Map<string, string[]>();
  const add = (index: Map<string, string[]>, key: string, value: string): void => {
    const found = index.get(key);
    if (found === undefined) index.set(key, [value]);
    else found.push(value);
  };
  for (const { from, to } of edges) {
    add(effects, from, to);
    add(causes, to, from);
  }
  return { causesOf: (id) => causes.get(id) ?? none, effectsOf: (id) => effects.get(id) ?? none };
};

/** All events that are reached from an event, with the number of edges to each; without the event itself. */
export const distances = (from: string, next: (id: string) => readonly string[]): ReadonlyMap<string, number> => {
  const found = new Map<string, number>();
  let front = [from];
  for (let distance = 1; front.length > 0; distance += 1) {
    const reached: string[] = [];
    for (const id of front) {
      for (const one of next(id)) {
        if (one === from || found.has(one)) continue;
        found.set(one, distance);
        reached.push(one);
      }
    }
    front = reached;
  }
  return found;
};
