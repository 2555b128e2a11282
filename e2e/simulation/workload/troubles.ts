import type { Workload } from '@interlock/rpc';
import type { Part } from '../cloud/parts.ts';
import type { SimulatedCloud } from '../cloud/simulated-cloud.ts';

/** What a fault strikes: one part, or everything (`calls`: the net as a whole). */
export type Struck = Part | 'calls' | 'volumes';

/** Which faults are on, and when each part was last in trouble: what an outage may be an excuse for. */
export interface Troubles {
  /** Notes that a fault begins. @returns what ends it */
  begin(...struck: readonly Struck[]): () => void;
  /** True time at which the last fault on any of these parts ended; now while one is on; undefined when there was none. */
  lastMs(struck: readonly Struck[]): number | undefined;
  /** The same for any fault at all. */
  lastAnyMs(): number | undefined;
  /** True time at which the present process of a service began. */
  startedMs(service: Workload): number;
  noteStart(service: Workload): void;
}

export const openTroubles = ({ clock }: SimulatedCloud): Troubles => {
  const active = new Map<Struck, number>();
  const ended = new Map<Struck, number>();
  const started = new Map<Workload, number>();
  const lastMs = (struck: Iterable<Struck>): number | undefined => {
    let last: number | undefined;
    for (const one of struck) {
      const at = (active.get(one) ?? 0) > 0 ? clock.monotonicMs() : ended.get(one);
      if (at !== undefined && (last === undefined || at > last)) last = at;
    }
    return last;
  };
  return {
    begin(...struck) {
      for (const one of struck) active.set(one, (active.get(one) ?? 0) + 1);
      let isOver = false;
      return () => {
        if (isOver) return;
        isOver = true;
        for (const one of struck) {
          active.set(one, (active.get(one) ?? 1) - 1);
          ended.set(one, clock.monotonicMs());
        }
      };
    },
    lastMs,
    lastAnyMs: () => lastMs(new Set([...active.keys(), ...ended.keys()])),
    startedMs: (service) => started.get(service) ?? 0,
    noteStart: (service) => {
      started.set(service, clock.monotonicMs());
    },
  };
};
