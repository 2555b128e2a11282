import { type Replica, workloads } from '@interlock/host';
import type { Workload } from '@interlock/rpc';

/** The parts that can be cut off from one another: services, the bus, the stores, and callers outside. */
export type Part = Workload | 'bus' | 'store' | 'outside';

export const parts: readonly Part[] = [...workloads, 'bus', 'store', 'outside'];

/** `disk`, or `disk#1` for a further replica. */
export const nameOf = ({ service, replica }: Replica): string => (replica === 0 ? service : `${service}#${replica}`);

/** The pairs of parts that do not reach each other. */
export interface Cuts {
  cut(a: Part, b: Part): void;
  heal(a: Part, b: Part): void;
  isCut(a: Part, b: Part): boolean;
  /** Each as `a|b`, in the order they were cut. */
  all(): readonly (readonly [Part, Part])[];
}

export const createCuts = (): Cuts => {
  const cuts = new Map<string, readonly [Part, Part]>();
  const nameOfPair = (a: Part, b: Part): string => (a < b ? `${a}|${b}` : `${b}|${a}`);
  return {
    cut: (a, b) => {
      cuts.set(nameOfPair(a, b), [a, b]);
    },
    heal: (a, b) => {
      cuts.delete(nameOfPair(a, b));
    },
    isCut: (a, b) => cuts.size > 0 && cuts.has(nameOfPair(a, b)),
    all: () => [...cuts.values()],
  };
};
