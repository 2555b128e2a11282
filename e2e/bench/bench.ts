import type { DataFolder } from '@interlock/local/data-folder.ts';
import type { Scope } from '@interlock/runtime';
import type { Measurement } from './measure.ts';

/** How a bench is asked to run. */
export interface BenchOptions {
  /** Only this size; its meaning is the bench's. */
  readonly size: number | undefined;
  /** How long to go on, in seconds, where a bench is about time; by default as long as it says. */
  readonly seconds: number | undefined;
  /** Processes of each service, in benches of a whole cloud; default 1. */
  readonly replicas: number | undefined;
  /** As small as possible: shows that the bench runs, and measures nothing. */
  readonly smoke: boolean;
  /** Settings of the services beside those of the bench. */
  readonly settings?: Readonly<Record<string, string>>;
  /** A folder of this run alone. */
  readonly data: DataFolder;
}

/** Measures, and says a line per size. What it opens is registered on the scope. */
export type Bench = (options: BenchOptions, scope: Scope) => Promise<readonly Measurement[]>;
